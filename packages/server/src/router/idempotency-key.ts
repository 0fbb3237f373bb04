import { AppError } from "@signalbox/kernel/app-error"

const idempotencyKeyPattern = /^[\x21-\x7e]{8,128}$/

/** @throws request.idempotency-key-required */
export function requireIdempotencyKey(call: { readonly operation: string; readonly idempotencyKey?: string }): string {
  const key = call.idempotencyKey
  if (key === undefined)
    throw new AppError(
      "request.idempotency-key-required",
      `${call.operation} changes something and needs an Idempotency-Key`,
    )
  if (!idempotencyKeyPattern.test(key))
    throw new AppError(
      "request.idempotency-key-required",
      "the Idempotency-Key must have 8 to 128 printable characters",
    )
  return key
}
