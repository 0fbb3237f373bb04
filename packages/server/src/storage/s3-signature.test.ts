import { describe, expect, it } from "vitest"
import { emptyDigest, signCall } from "./s3-signature.ts"

// The examples of "Authenticating Requests: Using the Authorization Header" in Amazon's S3 API reference.
const key = {
  accessKey: "AKIAIOSFODNN7EXAMPLE",
  secretKey: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
  region: "us-east-1",
}
const now = Date.UTC(2013, 4, 24)
const host = "https://examplebucket.s3.amazonaws.com"

describe("X13: signatures of calls to S3-compatible stores", () => {
  it.each([
    ["/test.txt", { range: "bytes=0-9" }, "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"],
    ["/?lifecycle=", {}, "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"],
    ["/?max-keys=2&prefix=J", {}, "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"],
  ])("are those of the published examples: %s", (path, headers, signature) => {
    const signed = signCall(key, { method: "GET", url: new URL(host + path), headers, payloadDigest: emptyDigest, now })
    expect(signed["authorization"]).toContain(`Signature=${signature}`)
  })

  it("cover a name that needs escaping and the digest of a body", () => {
    const signed = signCall(key, {
      method: "PUT",
      url: new URL(`${host}/test$file.text`),
      headers: { date: "Fri, 24 May 2013 00:00:00 GMT", "x-amz-storage-class": "REDUCED_REDUNDANCY" },
      payloadDigest: "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
      now,
    })
    expect(signed["authorization"]).toContain(
      "Signature=98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
    )
  })
})
