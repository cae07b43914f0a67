import Subprocess

/// (e) An instance is stopped gracefully under load.
struct CheckStop: Check {
    let letter = "e"
    let name = "an instance is stopped gracefully under load"
    private static let products = 450
    private static let timeout = Duration.seconds(25)

    func run(_ stage: Stage) async throws -> CheckOutcome {
        let shops = stage.shops.all
        guard shops.count > 1 else { throw CheckImpossible(description: "only \(shops.count) instance is running") }
        let leaving = shops[0]
        let others = Array(shops.dropFirst())
        let ids = try stage.takeProducts(Self.products)
        try await Held.fill(ids, stage: stage, shops: shops)
        let owned = try await stage.owned(by: leaving, of: ids, asking: others[0])
        let before = try await stage.queries(ids, by: others)
        let failures = FailureWatch(others)
        let ownFailures = FailureWatch([leaving])

        let start = ContinuousClock.now
        stage.shops.remove(leaving)
        leaving.terminate()
        async let membership = stage.shops.untilOneCluster(ready: false)
        let status = try await Self.termination(of: leaving)
        let stopped = ContinuousClock.now - start
        let noticed = try await membership
        let problems = await stage.read(owned, from: others)
        try await Task.sleep(for: .seconds(1))
        let after = try await stage.queries(ids, by: others)

        let again = Held.readAgain(owned, before: before, after: after)
        let failed = failures.count + problems.count
        return CheckOutcome(
            passed: failed == 0 && status == .exited(0),
            detail: "\(leaving.name) ended after \(decimal(stopped.milliseconds, 0)) ms (\(status)), the others saw it leave after "
                + "\(decimal(noticed.milliseconds, 0)) ms, \(failed) requests to them failed\(failures.reasons)"
                + (problems.first.map { " (\($0))" } ?? "")
                + ", \(ownFailures.count) to itself; \(again) of the \(owned.count) products it owned were read from the database again",
            figures: [
                "stoppedMilliseconds": stopped.milliseconds, "noticedMilliseconds": noticed.milliseconds, "failedRequests": Double(failed),
                "failedAtLeaving": Double(ownFailures.count), "ownedProducts": Double(owned.count), "readAgain": Double(again),
                "exitStatusIsZero": status == .exited(0) ? 1 : 0,
            ])
    }

    private static func termination(of shop: ShopProcess) async throws -> TerminationStatus {
        // A shop that does not end is killed, so that the wait below ends: then the status is not 0.
        let killer = Task {
            try await Task.sleep(for: timeout)
            shop.kill()
        }
        defer { killer.cancel() }
        return try await shop.termination()
    }
}
