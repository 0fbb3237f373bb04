import { AppError, type Issue } from "@signalbox/kernel/app-error"
import { readParameters, type ParameterDeclarations, type ParameterValues } from "../../parameters/parameter-values.ts"

/** All values of one run together, in characters: they go into the environment of every step. */
export const parametersLengthMax = 24 * 1024

/**
 * The values of a run: what was given, checked, with the defaults.
 *
 * @throws workflows.invalid-parameters
 */
export function resolveParameters(declarations: ParameterDeclarations, given: ParameterValues): ParameterValues {
  const { values, issues: found } = readParameters(declarations, given)
  const issues: Issue[] = [...found]
  const length = Object.values(values).reduce<number>((sum, value) => sum + String(value).length, 0)
  if (length > parametersLengthMax)
    issues.push({ path: "parameters", message: `have ${length} characters in all, and ${parametersLengthMax} may be` })
  if (issues.length === 0) return values
  const first = issues[0]
  throw new AppError("workflows.invalid-parameters", `${first?.path} ${first?.message}`, { issues })
}
