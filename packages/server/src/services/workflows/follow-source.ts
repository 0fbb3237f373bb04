/** Tasks of an ended execution, as a retry or a rollback takes them. */
export type FollowSource =
  | {
      readonly kind: "retry"
      readonly execution: string
      readonly states: readonly string[]
      readonly classes?: readonly string[] | undefined
      readonly nodes?: readonly string[] | undefined
    }
  | { readonly kind: "rollback"; readonly execution: string; readonly states: readonly string[] }
