import type { identityProvidersApply } from "@signalbox/contracts/identity/identity-providers"
import type { InputOf } from "@signalbox/contracts/operation"
import { stringify } from "yaml"

/** An identity provider as a document, always written the same way, so that two of them can be compared. */
export function identityProviderText(provider: InputOf<typeof identityProvidersApply>): string {
  const { name, title, issuer, clientId, clientSecret, scopes, groupsClaim, groups, admit, emailDomains, enabled } =
    provider
  return stringify({
    kind: "IdentityProvider",
    name,
    ...(title === undefined ? {} : { title }),
    issuer,
    clientId,
    ...(clientSecret === undefined ? {} : { clientSecret }),
    scopes,
    groupsClaim,
    groups: groups.map(({ group, roles, teams }) => ({ group, roles, teams })),
    admit,
    emailDomains,
    enabled,
  })
}
