import type { UseRecorder } from "./ports.ts"

/** Where nothing is metered. */
export const noUses: UseRecorder = { record: () => undefined }
