import { problemStatus } from "../../packages/contracts/src/problem.ts"
import { errorCatalogue, type ErrorCode, type ErrorEntry } from "../../packages/kernel/src/error-catalogue.ts"
import { markdownTable, page } from "./generated-page.ts"

/** `docs/errors.md`: the error catalogue by section, each code with an anchor of its own name. */
export function makeErrorPage(catalogue: Readonly<Partial<Record<ErrorCode, ErrorEntry>>> = errorCatalogue): string {
  const sections = Map.groupBy(Object.entries(catalogue), ([code]) => code.slice(0, code.indexOf(".")))
  const tables = [...sections].map(([section, entries]) =>
    [
      `## ${section}`,
      markdownTable(
        ["Code", "Status", "Kind", "Retry", "What to do"],
        entries.map(([code, { kind, retryable, help }]) => [
          `<a id="${code}"></a>\`${code}\``,
          String(problemStatus[kind]),
          kind,
          retryable ? "yes" : "no",
          help,
        ]),
      ),
    ].join("\n\n"),
  )
  return page(
    "Errors",
    "Every refusal and failure has a code. HTTP answers carry it as `code` of a problem body (RFC 9457) beside the " +
      "`requestId`; the command line prints it and ends with the exit status of its kind. Compare codes, never texts. " +
      "*Retry*: the same call can succeed later without a change.",
    ...tables,
  )
}
