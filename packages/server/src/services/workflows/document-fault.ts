/** What is wrong with a workflow document, and where. */
export type FaultPath = ReadonlyArray<string | number>

export interface Fault {
  readonly path: FaultPath
  readonly message: string
  readonly kind: "document" | "template"
}
