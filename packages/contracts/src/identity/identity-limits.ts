/** Bounds of people and what they log in with. */
export const identityLimits = {
  usersMax: 10_000,
  serviceAccountsMax: 1_000,
  providersMax: 20,
  /** Neither revoked nor expired. */
  keysMax: 10_000,
  teamsMax: 64,
  displayNameCharactersMax: 200,
  passwordCharactersMin: 12,
  passwordCharactersMax: 256,
  /** Of one user; a further login ends the session that was used least recently. */
  sessionsPerUserMax: 50,
  /** Of one provider. */
  groupRulesMax: 200,
  groupNameCharactersMax: 256,
  emailDomainsMax: 50,
  scopesMax: 20,
  /** How long a code from `users.create` or `users.reset-password` can be used. */
  codeHours: 72,
  /** How long a login by a provider may take, from its beginning to the provider's answer. */
  providerLoginMinutes: 10,
} as const
