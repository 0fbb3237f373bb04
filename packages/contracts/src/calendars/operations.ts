import { schedulesOperations } from "./schedules.ts"
import { windowsOperations } from "./windows.ts"

export const calendarsOperations = [...schedulesOperations, ...windowsOperations] as const
