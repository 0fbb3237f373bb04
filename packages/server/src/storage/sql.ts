/** What the parts of the server see of a connection: statements, alone or in a transaction. */
export interface Sql {
  /** Rows of one statement. `name` makes it a prepared statement of the connection. */
  query<Row extends object = Record<string, unknown>>(
    text: string,
    values?: readonly unknown[],
    options?: { name?: string },
  ): Promise<Row[]>
}

export interface Tx extends Sql {
  readonly kind: "transaction"
  /** The last statement of the transaction: the commit leaves with it, in one round trip, and nothing may be sent behind it. */
  queryAndCommit<Row extends object = Record<string, unknown>>(
    text: string,
    values: readonly PlainValue[],
    options?: { name?: string },
  ): Promise<Row[]>
}

/** What can be sent as it is: a statement whose values could not be written would leave its commit to go alone. */
export type PlainValue = string | number | boolean | null | ReadonlyArray<string | number | null>
