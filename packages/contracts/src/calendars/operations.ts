import { breakGlassReviewsOperations } from "./break-glass-reviews.ts"
import { calendarFeedsOperations } from "./calendar-feeds.ts"
import { changeCalendarsOperations } from "./change-calendars.ts"
import { ruleSchedulesOperations } from "./rule-schedules.ts"
import { schedulesOperations } from "./schedules.ts"
import { windowsOperations } from "./windows.ts"

export const calendarsOperations = [
  ...schedulesOperations,
  ...ruleSchedulesOperations,
  ...windowsOperations,
  ...changeCalendarsOperations,
  ...calendarFeedsOperations,
  ...breakGlassReviewsOperations,
] as const
