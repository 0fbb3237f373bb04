import { expect, test } from "vitest"
import { claimsOf, readGroups, readIdentity, toUserName } from "./oidc-identity.ts"

test("groups are a list or one text, of a claim or of a member of one", () => {
  expect(readGroups({ groups: ["a", 5, "", null, "b"] }, "groups")).toEqual(["a", "b"])
  expect(readGroups({ groups: "a" }, "groups")).toEqual(["a"])
  expect(readGroups({ realm_access: { roles: ["a"] } }, "realm_access.roles")).toEqual(["a"])
  expect(readGroups({ "https://example.org/groups": ["a"] }, "https://example.org/groups")).toEqual(["a"])
  expect(readGroups({}, "groups")).toEqual([])
  expect(readGroups({}, "constructor")).toEqual([])
  expect(readGroups({ groups: ["a"] }, "groups.length")).toEqual([])
})

test("a user's name is made of what the provider calls them", () => {
  expect(["Ann.Lee@example.org", "Jürgen Groß", "..a..", "usr_x", "", "日本", "a".repeat(100)].map(toUserName)).toEqual(
    ["ann.lee", "ju-rgen-gro", "a", "user", "user", "user", "a".repeat(48)],
  )
})

test("an address counts where it was verified; nobody without a subject", () => {
  const spec = { groupsClaim: "groups" }
  const claims = { iss: "https://id.example.org", sub: "1", email: "a@example.org" }
  expect(readIdentity(claims, spec).email).toBeNull()
  expect(readIdentity({ ...claims, email_verified: true }, spec).email).toBe("a@example.org")
  expect(readIdentity({ ...claims, name: "a\u0000b\n" }, spec).displayName).toBe("ab")
  expect(() => readIdentity({ iss: "https://id.example.org", sub: "" }, spec)).toThrow(/no subject/)
})

test("each mapped group gives its roles and teams, each once", () => {
  const groups = [
    { group: "a", roles: ["operator" as const], teams: ["x"] },
    { group: "b", roles: ["operator" as const, "viewer" as const], teams: ["x", "y"] },
  ]
  expect(claimsOf({ groups }, ["a", "b", "c"])).toEqual({
    mapped: true,
    roles: ["operator", "viewer"],
    teams: ["x", "y"],
  })
  expect(claimsOf({ groups }, ["c"])).toEqual({ mapped: false, roles: [], teams: [] })
})
