import type { Sealer } from "../../router/ports.ts"
import { seal, unseal, type SecretPlace } from "./envelope.ts"

/** Sealed texts lie in others' tables, so each is one text: the wrapped key and the content, in base64url. */
export function createSealer(masterKey: Uint8Array): Sealer {
  return {
    seal: (place, text) => {
      const { wrappedKey, sealed } = seal(masterKey, placeOf(place), text)
      return `${wrappedKey.toString("base64url")}.${sealed.toString("base64url")}`
    },
    unseal: (place, text) => {
      const [wrappedKey = "", sealed = ""] = text.split(".")
      return unseal(masterKey, placeOf(place), {
        wrappedKey: Buffer.from(wrappedKey, "base64url"),
        sealed: Buffer.from(sealed, "base64url"),
      })
    },
  }
}

/** A secret's name has no colon, so no sealed text can be put in the place of a secret, nor the other way round. */
function placeOf({ account, use, id }: { account: string; use: string; id: string }): SecretPlace {
  return { account, name: `${use}:${id}`, version: 1 }
}
