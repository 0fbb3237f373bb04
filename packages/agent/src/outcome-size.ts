import type { KeptOutput, StepResult } from "@signalbox/contracts/fleet/agent-protocol"

/** Halvings until even 1 MiB is nothing. */
const roundsMax = 21

/** The results with their kept outputs halved, as often as it takes, until all of them fit into `bytesMax` of JSON. */
export function fitResults(results: readonly StepResult[], bytesMax: number): StepResult[] {
  let fitting = [...results]
  for (let round = 0; round < roundsMax && Buffer.byteLength(JSON.stringify(fitting)) > bytesMax; round++) {
    fitting = fitting.map((result) => ({
      ...result,
      ...(result.stdout && { stdout: halve(result.stdout) }),
      ...(result.stderr && { stderr: halve(result.stderr) }),
    }))
  }
  return fitting
}

function halve(output: KeptOutput): KeptOutput {
  if (output.tail === "" && !output.truncated) {
    const quarter = Math.floor(output.head.length / 4)
    if (output.head === "") return output
    return { ...output, head: first(output.head, quarter), tail: last(output.head, quarter), truncated: true }
  }
  const { head, tail } = output
  return { ...output, head: first(head, head.length >> 1), tail: last(tail, tail.length >> 1), truncated: true }
}

/** The first characters; never half of a surrogate pair. */
function first(text: string, length: number): string {
  return text.slice(0, length).replace(/[\uD800-\uDBFF]$/, "")
}

function last(text: string, length: number): string {
  return length === 0 ? "" : text.slice(-length).replace(/^[\uDC00-\uDFFF]/, "")
}
