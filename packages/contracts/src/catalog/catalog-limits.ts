/** What bounds the catalog; errors and documents quote these. */
export const catalogLimits = {
  productsMax: 1_000,
  portfoliosMax: 1_000,
  /** Portfolios from the one that is launched from to the one that has the products. */
  chainLengthMax: 8,
  productsInPortfolioMax: 200,
  regionsMax: 100,
  outputsMax: 32,
  outputLengthMax: 8_192,
  accessEntriesMax: 500,
  sharedWithMax: 200,
  liveMax: 100_000,
  reasonLengthMax: 2_000,
  progressLengthMax: 500,
  waitSecondsMax: 60,
  leaseSecondsMin: 5,
  leaseSecondsMax: 3_600,
} as const
