export class InvariantError extends Error {
  override readonly name = "InvariantError"
  readonly invariant: string

  constructor(invariant: string, message: string) {
    super(`${invariant}: ${message}`)
    this.invariant = invariant
  }
}

export function expectThat(condition: boolean, invariant: string, message: () => string): void {
  if (!condition) throw new InvariantError(invariant, message())
}
