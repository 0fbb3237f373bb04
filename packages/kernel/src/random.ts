/** Randomness as an input: the operating system's in production, a seeded generator in tests and simulations. */
export interface Random {
  bytes(count: number): Uint8Array
}
