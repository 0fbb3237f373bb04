/** Values as people read them in tables and details. @example cellText({ role: "web" }) // "role=web" */
export function cellText(value: unknown): string {
  if (value === undefined || value === null || value === "") return "-"
  if (typeof value === "string") return durationText(value) ?? instantText(value)
  if (typeof value === "number")
    return Number.isInteger(value) ? String(value) : String(Math.round(value * 1000) / 1000)
  if (Array.isArray(value)) return value.length === 0 ? "-" : value.map(cellText).join(",")
  if (typeof value === "object") {
    const members = Object.entries(value)
    return members.length === 0 ? "-" : members.map(([key, member]) => memberText(key, member)).join(",")
  }
  return typeof value === "boolean" ? (value ? "yes" : "no") : ""
}

function memberText(key: string, member: unknown): string {
  return member === "" ? key : `${key}=${cellText(member)}`
}

/** A duration as people write it, of one as it is on the wire. @example durationText("PT6H") // "6h" */
function durationText(text: string): string | undefined {
  const [, days = "", time = ""] = /^P(\d{1,4}D)?(?:T((?:\d{1,6}(?:\.\d+)?[HMS]){1,3}))?$/.exec(text) ?? []
  return days + time === "" ? undefined : (days + time).toLowerCase()
}

/** A document with its durations as people write them. @example readableDocument("every: PT5M\n") // "every: 5m\n" */
export function readableDocument(yaml: string): string {
  return yaml.replaceAll(/(?<=: )P\d?[\dDTHMS.]+$/gm, (text) => durationText(text) ?? text)
}

const instantPattern = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\.\d{3}Z$/

function instantText(text: string): string {
  return text.replace(instantPattern, "$1Z")
}

/** The value of a member of a member. @example memberAt(execution, "counts.failed") */
export function memberAt(value: unknown, path: string): unknown {
  let at = value
  for (const part of path.split(".")) {
    if (typeof at !== "object" || at === null) return undefined
    at = (at as Record<string, unknown>)[part]
  }
  return at
}

/** A field as a heading. @example headingOf("lastSeenAt") // "last seen" */
export function headingOf(path: string): string {
  const parts = path.split(".")
  const last = parts.at(-1) ?? path
  const word = (last === "name" || last === "count") && parts.length > 1 ? (parts.at(-2) ?? last) : last
  return word
    .replaceAll(/([a-z])([A-Z])/g, "$1 $2")
    .toLowerCase()
    .replace(/ at$/, "")
}
