/**
 * Does a work for each item, so many at once at most; the results are in the order of the items. The first failure is
 * thrown at the end: the other lanes go on with what is left.
 *
 * @example await mapBounded(hosts, 10, (host) => install(host))
 */
export async function mapBounded<Item, Result>(
  items: readonly Item[],
  parallelMax: number,
  work: (item: Item, index: number) => Promise<Result>,
): Promise<Result[]> {
  const results: Result[] = []
  const rest = items.entries()
  const lane = async () => {
    for (const [index, item] of rest) results[index] = await work(item, index)
  }
  const lanes = Array.from({ length: Math.max(1, Math.min(parallelMax, items.length)) }, lane)
  const ended = await Promise.allSettled(lanes)
  const failure = ended.find(({ status }) => status === "rejected")
  if (failure?.status === "rejected") throw failure.reason
  return results
}
