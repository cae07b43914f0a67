import Foundation

/// The whole run: start, traffic, table, and one check after the other.
struct Performance: Sendable {
    static let checks: [any Check] = [CheckSingleFlight(), CheckUpdate(), CheckKill(), CheckJoin(), CheckStop()]

    private let screen: Screen
    private let report: Report
    private let shops: Shops
    private let stage: Stage
    private let requestsPerSecond: Int
    private let warmUp: Duration

    /// As many products as a shop creates, split: most for the traffic, the rest untouched until a check needs them.
    private static let trafficProducts = 1...18_000
    private static let checkProducts = 18_001...20_000

    init(demo: Demo, folder: String, screen: Screen, report: Report) {
        self.screen = screen
        self.report = report
        requestsPerSecond = demo.rate
        warmUp = .seconds(min(8, max(2, (demo.seconds - 25) / 4)))
        let own = Bundle.main.executableURL ?? URL(filePath: CommandLine.arguments[0])
        let settings = ShopProcess.Settings(
            executable: own.resolvingSymlinksInPath().deletingLastPathComponent().appending(path: "shop").path,
            database: folder + "/shop.sqlite", logFolder: folder, cluster: "demo-\(UUID().uuidString.prefix(8))",
            secret: UUID().uuidString)
        let traffic = Traffic(
            zipf: Zipf(ids: Self.trafficProducts, exponent: demo.zipf, seed: demo.seed), seed: demo.seed,
            requestsPerSecond: demo.rate, callersPerShop: demo.callers)
        shops = Shops(settings: settings, traffic: traffic)
        stage = Stage(shops: shops, freeProducts: Self.checkProducts)
    }

    /// Returns, or throws when there was no cluster to check, after the last process has ended.
    func run() async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            defer { group.cancelAll() }
            group.addTask { await shops.run() }
            screen.say("Starting three instances over one database …")
            _ = try await shops.start(3)
            let formed = try await shops.untilOneCluster(timeout: .seconds(60))
            screen.say("They are one cluster after \(decimal(formed.milliseconds, 0)) ms. Traffic: \(requestsPerSecond) requests/s.")

            group.addTask {
                var table = LiveTable(shops: shops, screen: screen)
                await table.run()
            }
            try await Task.sleep(for: warmUp)
            for check in Self.checks {
                screen.say("Next: (\(check.letter)) \(check.name) …")
                report.add(try await result(of: check))
            }
        }
    }

    /// Throws only when the run is being ended: then the check has no result of its own.
    private func result(of check: any Check) async throws -> CheckResult {
        do {
            let outcome = try await check.run(stage)
            return CheckResult(
                check: check.letter, name: check.name, passed: outcome.passed, detail: outcome.detail, figures: outcome.figures)
        } catch {
            try Task.checkCancellation()
            return CheckResult(check: check.letter, name: check.name, passed: false, detail: "\(error)", figures: [:])
        }
    }
}
