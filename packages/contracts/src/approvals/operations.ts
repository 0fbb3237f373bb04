import { answersOperations } from "./answers.ts"
import { associationsOperations } from "./associations.ts"
import { delegationsOperations } from "./delegations.ts"
import { approvalGroupsOperations } from "./groups.ts"
import { heldOperationsOperations } from "./held-operations.ts"
import { linkAnswersOperations } from "./link-answers.ts"
import { requestsOperations } from "./requests.ts"
import { resultsOperations } from "./results.ts"
import { stepApprovalsOperations } from "./step-approvals.ts"
import { templatesOperations } from "./templates.ts"

import { voteKeysOperations } from "./vote-keys.ts"
export const approvalsOperations = [
  ...templatesOperations,
  ...approvalGroupsOperations,
  ...associationsOperations,
  ...requestsOperations,
  ...answersOperations,
  ...resultsOperations,
  ...delegationsOperations,
  ...heldOperationsOperations,
  ...voteKeysOperations,
  ...stepApprovalsOperations,
  ...linkAnswersOperations,
] as const
