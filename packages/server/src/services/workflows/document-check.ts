/** What a schema can't say of a workflow document: templates that name something, patterns that are patterns. Pure. */
import type { ParameterDeclaration, WorkflowDocument } from "@signalbox/contracts/workflows/document"
import type { Fault } from "./document-fault.ts"
import { compilePattern, findValueFault } from "../../parameters/parameter-values.ts"
import { findStepFaults } from "./step-check.ts"

export function findDocumentFaults(document: WorkflowDocument): Fault[] {
  return [
    ...Object.entries(document.parameters).flatMap(([name, declaration]) => parameterFaults(name, declaration)),
    ...findStepFaults(document),
  ]
}

function parameterFaults(name: string, declaration: ParameterDeclaration): Fault[] {
  const path = ["parameters", name]
  const faults: Fault[] = []
  const add = (field: string, message: string): void =>
    void faults.push({ path: [...path, field], message, kind: "document" })
  const isText = declaration.type === "string"
  const isNumber = declaration.type === "integer" || declaration.type === "number"
  if (declaration.pattern !== undefined) {
    if (!isText) add("pattern", "is for strings only")
    else if (!compilePattern(declaration.pattern)) add("pattern", "is not a regular expression in RE2 syntax")
  }
  if (declaration.lengthMax !== undefined && !isText) add("lengthMax", "is for strings only")
  if (declaration.min !== undefined && !isNumber) add("min", "is for integers and numbers only")
  if (declaration.max !== undefined && !isNumber) add("max", "is for integers and numbers only")
  if (declaration.required === true && declaration.default !== undefined)
    add("required", "a parameter with a default is never missing")
  if (faults.length > 0) return faults
  const { enum: choices, ...rest } = declaration
  for (const choice of choices ?? []) {
    const fault = findValueFault(rest, choice)
    if (fault !== undefined) add("enum", `${String(choice)} ${fault}`)
  }
  const fault = declaration.default === undefined ? undefined : findValueFault(declaration, declaration.default)
  if (fault !== undefined) add("default", fault)
  return faults
}
