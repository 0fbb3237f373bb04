import { permissionsOf, roles as allRoles, type Permission, type RoleName } from "@signalbox/contracts/identity/roles"
import { AppError } from "@signalbox/kernel/app-error"

/** Decisions about who may do what, and who may give it. No I/O, no clock. */

/** By hand and by claims, each once. */
export function joined<T extends string>(byHand: readonly T[], byClaims: readonly T[]): T[] {
  return [...new Set([...byHand, ...byClaims])].toSorted()
}

/**
 * The roles that count for a key of somebody: no permission that either of them lacks. A wider role of one side counts
 * as the narrower ones of the other that it contains.
 *
 * @example narrowed(["admin"], ["operator"]) // ["operator"]
 */
export function narrowed(ofKey: readonly RoleName[], ofOwner: readonly RoleName[]): RoleName[] {
  const [key, owner] = [permissionsOf(ofKey), permissionsOf(ofOwner)]
  const within = (role: RoleName, permissions: ReadonlySet<Permission>): boolean =>
    allRoles[role].every((permission) => permissions.has(permission))
  const both = [...ofKey.filter((role) => within(role, owner)), ...ofOwner.filter((role) => within(role, key))]
  return [...new Set(both)].toSorted()
}

/** Roles as the database has them; of a newer server's roles this one knows nothing. */
export function knownRoles(names: readonly string[]): RoleName[] {
  return names.filter((name): name is RoleName => Object.hasOwn(allRoles, name))
}

/** @throws identity.role-not-grantable where the roles hold what the giver doesn't */
export function checkGrantable(giver: ReadonlySet<Permission>, roles: readonly RoleName[]): void {
  const missing = [...permissionsOf(roles)].find((permission) => !giver.has(permission))
  if (missing === undefined) return
  throw new AppError(
    "identity.role-not-grantable",
    `the roles ${roles.join(", ")} hold ${missing}, which you don't have`,
  )
}

/**
 * Whoever can change somebody can become them, so it takes at least their authority.
 *
 * @throws identity.outranked
 */
export function checkNotOutranked(
  changer: ReadonlySet<Permission>,
  changed: { readonly id: string; readonly roles: readonly RoleName[] },
): void {
  const missing = [...permissionsOf(changed.roles)].find((permission) => !changer.has(permission))
  if (missing !== undefined)
    throw new AppError("identity.outranked", `${changed.id} has the permission ${missing}, which you don't have`)
}

const idPattern = /^(?:usr|sva|key|uss|nod)_/

/** Ids and names share one place in inputs, so nobody may have a name that looks like an id. @throws request.invalid-input */
export function checkName(name: string): void {
  if (idPattern.test(name)) throw new AppError("request.invalid-input", `name: "${name}" looks like an id`)
}

/** @throws identity.password-unfit */
export function checkPassword(password: string, user: { readonly name: string; readonly email: string | null }): void {
  const plain = password.toLowerCase()
  const known = [user.name, user.email ?? "", user.email?.split("@")[0] ?? ""].filter((text) => text !== "")
  if (known.some((text) => plain === text.toLowerCase()))
    throw new AppError("identity.password-unfit", "the password is the user's own name or address")
  if (new Set(plain).size < distinctCharactersMin)
    throw new AppError(
      "identity.password-unfit",
      `the password has fewer than ${distinctCharactersMin} different characters`,
    )
}

const distinctCharactersMin = 5
