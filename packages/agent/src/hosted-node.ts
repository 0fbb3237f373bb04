import { join } from "node:path"

/** Where a hosted node's own things are, below the folder that bears its name. */
export function hostedNode(nodesDirectory: string, name: string): { dataDirectory: string; root: string } {
  return { dataDirectory: join(nodesDirectory, name, "agent"), root: join(nodesDirectory, name, "root") }
}
