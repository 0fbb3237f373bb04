import { deadCodeGate, formatGate, lintGate, typesGate } from "./command-gates.ts"
import { decisionRecordsGate } from "./decision-records.ts"
import { licencesGate, lockfileGate } from "./dependencies.ts"
import { docsLinksGate } from "./docs-links.ts"
import type { Gate } from "./gate.ts"
import { generatedGate } from "./generated.ts"
import { layersGate } from "./layers.ts"
import { tidyGate } from "./tidy.ts"
import { traceabilityGate } from "./traceability.ts"

/** In the order in which they run: types first, since lint reads the declarations that it compiles. */
export const allGates: readonly Gate[] = [
  formatGate,
  typesGate,
  lintGate,
  layersGate,
  deadCodeGate,
  generatedGate,
  docsLinksGate,
  decisionRecordsGate,
  tidyGate,
  lockfileGate,
  licencesGate,
  traceabilityGate,
]
