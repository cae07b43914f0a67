import ShopAPI

/// (d) A fourth instance joins under load and serves from the cache soon.
struct CheckJoin: Check {
    let letter = "d"
    let name = "a fourth instance joins under load"
    private static let hitShareMin = 0.5

    func run(_ stage: Stage) async throws -> CheckOutcome {
        let before = stage.shops.all
        let failures = FailureWatch(before)
        let queriesBefore = try await before.asyncMap { try await ShopClient($0).statistics().databaseQueries }.reduce(0, +)

        let start = ContinuousClock.now
        let joined = try await stage.shops.start(1)[0]
        _ = try await joined.httpPort()
        let listening = ContinuousClock.now - start
        _ = try await stage.shops.untilOneCluster()
        let member = ContinuousClock.now - start

        let first = try await ShopClient(joined).statistics().cache
        try await Task.sleep(for: .seconds(3))
        let cache = try await ShopClient(joined).statistics().cache
        let queries = try await stage.shops.all.asyncMap { try await ShopClient($0).statistics().databaseQueries }.reduce(0, +)

        let hits = cache.hits - first.hits
        let reads = hits + cache.misses - first.misses
        let share = Double(hits) / Double(max(1, reads))
        let failed = failures.count + joined.recorder.totals.failures
        return CheckOutcome(
            passed: failed == 0 && hits > 0 && share >= Self.hitShareMin,
            detail: "\(joined.name) answered after \(decimal(listening.milliseconds, 0)) ms, "
                + "all \(stage.shops.all.count) instances saw each other after \(decimal(member.milliseconds, 0)) ms, "
                + "\(decimal(100 * share, 1)) % of its \(reads) reads in the next 3 s were hits, "
                + "\(failed) requests failed\(failures.reasons), \(queries - queriesBefore) database queries by all instances meanwhile",
            figures: [
                "listeningMilliseconds": listening.milliseconds, "memberMilliseconds": member.milliseconds, "reads": Double(reads),
                "hits": Double(hits), "hitShare": share, "failedRequests": Double(failed),
                "databaseQueries": Double(queries - queriesBefore),
            ])
    }
}
