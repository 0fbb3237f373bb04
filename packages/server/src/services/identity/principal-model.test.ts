import { grantableRoles, permissionsOf, type RoleName } from "@signalbox/contracts/identity/roles"
import { hasCode } from "@signalbox/kernel/app-error"
import fc from "fast-check"
import { expect, test } from "vitest"
import { checkGrantable, checkNotOutranked, checkPassword, knownRoles, narrowed } from "./principal-model.ts"

const someRoles = fc.subarray([...grantableRoles] as RoleName[])

test("X2: a key of somebody never has a permission that its roles or its owner's lack", () => {
  fc.assert(
    fc.property(someRoles, someRoles, (ofKey, ofOwner) => {
      const roles = narrowed(ofKey, ofOwner)
      const [key, owner] = [permissionsOf(ofKey), permissionsOf(ofOwner)]
      for (const permission of permissionsOf(roles))
        expect(key.has(permission) && owner.has(permission), permission).toBe(true)
      expect(narrowed(ofOwner, ofKey)).toEqual(roles)
      expect(permissionsOf(narrowed(ofKey, ofKey))).toEqual(key)
    }),
  )
})

test("X2: whoever may give roles to somebody may change them, and the other way round", () => {
  fc.assert(
    fc.property(someRoles, someRoles, (ofGiver, given) => {
      const permissions = permissionsOf(ofGiver)
      const may = [...permissionsOf(given)].every((permission) => permissions.has(permission))
      const refusal = (check: () => void): unknown => {
        try {
          check()
          return undefined
        } catch (error) {
          return error
        }
      }
      const grant = refusal(() => checkGrantable(permissions, given))
      const change = refusal(() => checkNotOutranked(permissions, { id: "usr_x", roles: given }))
      expect([grant === undefined, change === undefined]).toEqual([may, may])
      if (!may) expect(hasCode(grant, "identity.role-not-grantable")).toBe(true)
      if (!may) expect(hasCode(change, "identity.outranked")).toBe(true)
    }),
  )
})

test("a role that only a newer server knows gives nothing here", () => {
  expect(knownRoles(["viewer", "constructor", "of-a-newer-server"])).toEqual(["viewer"])
})

test("a password that says who it is of is unfit", () => {
  const user = { name: "ann.lee.of.example", email: "ann.lee@example.org" }
  for (const password of ["Ann.Lee.Of.Example", "ANN.LEE@example.org", "ann.lee", "aaaabbbbcccc"])
    expect(() => checkPassword(password, user), password).toThrow(/password/)
  expect(() => checkPassword("correct horse battery", user)).not.toThrow()
})
