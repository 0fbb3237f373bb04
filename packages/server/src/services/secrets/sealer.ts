import type { Sealer } from "../../router/ports.ts"
import { rewrap, seal, unseal, type SecretPlace } from "./envelope.ts"
import { firstGeneration, type KeyRing } from "./key-ring.ts"

type Place = Parameters<Sealer["seal"]>[0]

/**
 * Sealed texts lie in others' tables, so each is one text: the generation, the wrapped key and the content, the last two
 * in base64url. Those of generation 1 are of before there were generations, and don't name it.
 */
export function createSealer(ring: KeyRing): Sealer {
  return {
    seal(place, text) {
      const { wrappedKey, sealed } = seal(ring.get(ring.current), placeOf(place), text)
      return textOf(ring.current, wrappedKey, sealed)
    },
    unseal(place, text) {
      const { generation, wrappedKey, sealed } = partsOf(text)
      return unseal(ring.get(generation), placeOf(place), { wrappedKey, sealed })
    },
  }
}

/** The same content under another generation. @throws secrets.unreadable, secrets.key-unknown */
export function rewrapText(
  ring: KeyRing,
  to: number,
  { place, text }: { readonly place: Place; readonly text: string },
): string {
  const { generation, wrappedKey, sealed } = partsOf(text)
  return textOf(to, rewrap(wrappedKey, placeOf(place), { from: ring.get(generation), to: ring.get(to) }), sealed)
}

/** What all texts of a generation begin with, but those of the first. */
export function prefixOf(generation: number): string {
  return `g${generation}.`
}

function textOf(generation: number, wrappedKey: Buffer, sealed: Buffer): string {
  const prefix = generation === firstGeneration ? "" : prefixOf(generation)
  return `${prefix}${wrappedKey.toString("base64url")}.${sealed.toString("base64url")}`
}

function partsOf(text: string): { readonly generation: number; readonly wrappedKey: Buffer; readonly sealed: Buffer } {
  const parts = text.split(".")
  const [sealed = "", wrappedKey = "", generation] = parts.toReversed()
  return {
    generation: generation === undefined ? firstGeneration : Number(generation.slice(1)),
    wrappedKey: Buffer.from(wrappedKey, "base64url"),
    sealed: Buffer.from(sealed, "base64url"),
  }
}

/** A secret's name has no colon, so no sealed text can be put in the place of a secret, nor the other way round. */
function placeOf({ account, use, id }: Place): SecretPlace {
  return { account, name: `${use}:${id}`, version: 1 }
}
