/**
 * Of the operations that a command needs which is typed often: what a call of them takes. The declarations are built
 * upon these; a program that imports only these loads no schemas, which takes longer than most calls.
 */
export const executionsCreateRoute = {
  name: "executions.create",
  method: "POST",
  path: "/v1/executions",
  effect: "change",
} as const

export const executionsWatchRoute = {
  name: "executions.watch",
  method: "GET",
  path: "/v1/executions/{execution}:watch",
  effect: "stream",
} as const

export const tasksListRoute = {
  name: "tasks.list",
  method: "GET",
  path: "/v1/executions/{execution}/tasks",
  effect: "read",
} as const

export const tasksGetRoute = {
  name: "tasks.get",
  method: "GET",
  path: "/v1/executions/{execution}/tasks/{task}",
  effect: "read",
} as const

export const tasksOutputRoute = {
  name: "tasks.output",
  method: "GET",
  path: "/v1/executions/{execution}/tasks/{task}/output",
  effect: "read",
} as const
