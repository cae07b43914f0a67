/// (c) One instance is killed under load: the others go on answering, and have what it held.
struct CheckKill: Check {
    let letter = "c"
    let name = "an instance is killed under load"
    private static let products = 600
    private static let readAgainShareMax = 0.05

    func run(_ stage: Stage) async throws -> CheckOutcome {
        let shops = stage.shops.all
        guard shops.count == 3 else { throw CheckImpossible(description: "\(shops.count) instances are running, not 3") }
        let victim = shops[1]
        let survivors = shops.filter { $0 !== victim }
        let ids = try stage.takeProducts(Self.products)
        try await Held.fill(ids, stage: stage, shops: shops)
        let owned = try await stage.owned(by: victim, of: ids, asking: survivors[0])
        let before = try await stage.queries(ids, by: survivors)
        let failures = FailureWatch(survivors)
        let requestsBefore = survivors.reduce(0) { $0 + $1.recorder.totals.requests }

        stage.shops.remove(victim)
        victim.kill()
        // Asked for at once: this is when it is hardest to have them.
        async let membership = stage.shops.untilOneCluster(ready: false)
        let problems = await stage.read(owned, from: survivors)
        let noticed = try await membership
        try await Task.sleep(for: .seconds(2))
        let status = try await victim.termination()
        let after = try await stage.queries(ids, by: survivors)

        let again = Held.readAgain(owned, before: before, after: after)
        let share = Double(again) / Double(owned.count)
        let requests = survivors.reduce(0) { $0 + $1.recorder.totals.requests } - requestsBefore + owned.count
        let failed = failures.count + problems.count
        return CheckOutcome(
            passed: failed == 0 && share <= Self.readAgainShareMax,
            detail: "\(victim.name) (\(status)): \(failed) of \(requests) requests to the others failed\(failures.reasons)"
                + (problems.first.map { " (\($0))" } ?? "")
                + ", \(again) of the \(owned.count) products it owned (\(decimal(100 * share, 1)) %) were read from the database again, "
                + "the others saw 2 members after \(decimal(noticed.milliseconds, 0)) ms",
            figures: [
                "requests": Double(requests), "failedRequests": Double(failed), "ownedProducts": Double(owned.count),
                "readAgain": Double(again), "readAgainShare": share, "noticedMilliseconds": noticed.milliseconds,
            ])
    }
}

/// Products that the cluster holds, and which of them the database had to give again later.
enum Held {
    /// Has every product loaded and its copies stored.
    static func fill(_ ids: ClosedRange<Int>, stage: Stage, shops: [ShopProcess]) async throws {
        let problems = await stage.read(Array(ids), from: shops)
        if let first = problems.first { throw CheckImpossible(description: "\(problems.count) products could not be read first: \(first)") }
        try await Task.sleep(for: .milliseconds(500))  // copies travel after the answer
    }

    static func readAgain(_ ids: [Int], before: [Int: Int], after: [Int: Int]) -> Int {
        ids.filter { (after[$0] ?? 0) > (before[$0] ?? 0) }.count
    }
}
