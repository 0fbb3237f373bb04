import { expect, test } from "vitest"
import { systemdService } from "./service-manager.ts"

test.each([
  ["active", 0, false],
  // Between two tries of a service that ends again and again.
  ["activating", 3, false],
  ["reloading", 3, false],
  ["inactive", 3, true],
  ["failed", 3, true],
  ["deactivating", 3, true],
  ["unknown", 4, true],
])("a service that systemd calls %s is at rest or has to be stopped", (said, exitCode, atRest) => {
  expect(systemdService("web").isAtRest({ said: `${said}\n`, exitCode })).toBe(atRest)
})
