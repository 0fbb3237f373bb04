/** A health check's texts: it is asked by the server for the run as a whole, so it knows no node and no step. Pure. */
import type { HealthCheck } from "@signalbox/contracts/workflows/strategy"
import { AppError } from "@signalbox/kernel/app-error"
import type { ParameterValues } from "../../parameters/parameter-values.ts"
import { parseTemplate, type Reference } from "./template.ts"

/** The secrets that a check names. @throws executions.invalid-strategy where a template names what it can't know */
export function healthSecrets(check: HealthCheck | undefined): string[] {
  return referencesOf(check).flatMap((reference) => (reference.kind === "secret" ? [reference.name] : []))
}

function referencesOf(check: HealthCheck | undefined): Reference[] {
  if (check?.run?.includes("${{"))
    throw refusal("a command has no templates; write what it needs into a script on the node")
  const { http } = check ?? {}
  if (!http) return []
  const texts = [http.url, ...Object.values(http.headers), ...(http.body === undefined ? [] : [http.body])]
  const references = texts.flatMap((text) => parseTemplate(text).filter((part) => typeof part !== "string"))
  for (const { kind } of references)
    if (kind !== "parameter" && kind !== "secret") throw refusal("a template names params.NAME or secrets.NAME")
  return references
}

const refusal = (reason: string): AppError =>
  new AppError("executions.invalid-strategy", `health: ${reason}`, { issues: [{ path: "health", message: reason }] })

/** The check as it is asked. @throws executions.invalid-strategy where a parameter or a secret is missing */
export function fillHealth(
  check: HealthCheck,
  values: { readonly parameters: ParameterValues; readonly secrets: Readonly<Record<string, string>> },
): HealthCheck {
  const { http } = check
  if (!http) return check
  const fill = (text: string): string =>
    parseTemplate(text)
      .map((part) => valueOf(part, values))
      .join("")
  return {
    ...check,
    http: {
      ...http,
      url: fill(http.url),
      headers: Object.fromEntries(Object.entries(http.headers).map(([name, text]) => [name, fill(text)])),
      ...(http.body === undefined ? {} : { body: fill(http.body) }),
    },
  }
}

function valueOf(
  part: string | Reference,
  values: { readonly parameters: ParameterValues; readonly secrets: Readonly<Record<string, string>> },
): string {
  if (typeof part === "string") return part
  const found =
    part.kind === "secret"
      ? values.secrets[part.name]
      : part.kind === "parameter"
        ? values.parameters[part.name]
        : undefined
  if (found === undefined) throw refusal("a parameter or a secret that it names has no value")
  return String(found)
}
