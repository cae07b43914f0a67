internal import PeerCacheCore
internal import PeerCacheTesting

/// First table of §14: the host or the network of a peer is gone.
struct SilentFailures {
    let options: GossipOptions

    private struct Bar {
        var size: Int
        var loss: UInt32
        var p50: Double, p99: Double, wrong: Double, bytes: Double, wire: Double
    }
    private static let bars = [
        Bar(size: 3, loss: 0, p50: 5.2, p99: 7, wrong: 0, bytes: 220, wire: 420),
        Bar(size: 3, loss: 5, p50: 5.2, p99: 7, wrong: 0, bytes: 250, wire: 520),
        Bar(size: 3, loss: 30, p50: 5.3, p99: 8, wrong: 0.1, bytes: 800, wire: 2_900),
        Bar(size: 16, loss: 0, p50: 6, p99: 10, wrong: 0, bytes: 220, wire: 420),
        Bar(size: 16, loss: 5, p50: 6.1, p99: 9.7, wrong: 0, bytes: 250, wire: 520),
        Bar(size: 16, loss: 30, p50: 6.2, p99: 10.5, wrong: 0.1, bytes: 1_100, wire: 3_000),
        Bar(size: 128, loss: 0, p50: 9.2, p99: 16, wrong: 0, bytes: 220, wire: 420),
        Bar(size: 128, loss: 5, p50: 9.2, p99: 16, wrong: 0, bytes: 250, wire: 520),
        Bar(size: 128, loss: 30, p50: 9.2, p99: 16, wrong: 1, bytes: 1_000, wire: 2_400),
        Bar(size: 1000, loss: 0, p50: 12, p99: 16.5, wrong: 0, bytes: 220, wire: 420),
        Bar(size: 1000, loss: 5, p50: 12, p99: 16.5, wrong: 0, bytes: 250, wire: 520),
        Bar(size: 1000, loss: 30, p50: 12, p99: 16.5, wrong: 5, bytes: 1_300, wire: 2_800),
    ]
    /// p50, p99 of memberlist's model by (size, loss): profile M has to come within 15 %.
    private static let models: [Int: [UInt32: (p50: Double, p99: Double)]] = [
        3: [0: (5.6, 7.2), 5: (5.5, 7.1), 30: (5.5, 9)], 16: [0: (6.6, 10.5), 5: (6.5, 9.3), 30: (6.8, 12.2)],
        128: [0: (10.3, 17.1), 5: (10.1, 16), 30: (10.2, 16.2)], 1000: [0: (13.6, 17.2), 5: (13.8, 16.4)],
    ]
    private static let fastBars: [Int: (p50: Double, p99: Double)] = [3: (2.9, 4), 16: (3.3, 6), 128: (5, 8.5)]

    func run(_ report: (GossipFigure) -> Void) {
        for bar in Self.bars where options.sizes.contains(bar.size) && options.losses.contains(bar.loss) {
            cell(bar, .p, .streams, report)
            guard options.compares else { continue }
            var onMessages = bar
            if bar.loss == 30 {
                (onMessages.wrong, onMessages.bytes) = bar.size == 3 ? (0.2, 550) : bar.size == 16 ? (0.5, 1_250) : (5, 7_500)
            }
            cell(onMessages, .p, .messages, report)
            cell(bar, .m, .messages, report)
            if bar.loss < 30, bar.size <= 128 { cell(bar, .f, .streams, report) }
        }
    }

    private func cell(_ bar: Bar, _ profile: Profile, _ carriage: Carriage, _ report: (GossipFigure) -> Void) {
        let lab = GossipLab(bar.size, lossPercent: bar.loss, carriage: carriage, profile.configuration, seed: options.seed)
        let crashes = max(2, bar.size >= 1000 ? options.crashes / 25 : options.crashes)
        let name = "silent.\(bar.size).\(bar.loss)%.\(profile.rawValue).\(carriage)"
        let hours = (bar.size <= 16 ? 100 : bar.size <= 128 ? 10 : 1) * options.hoursScale * (profile == .m && bar.loss == 30 ? 0.1 : 1)
        let seconds = max(60, Int64(hours * 3600))
        let traffic = lab.quiet(seconds: seconds)
        var times: [Int64] = []
        for _ in 0..<crashes {
            let seat = lab.anySeat()
            times += lab.lose([seat], silently: true)
            lab.refill([seat])
        }
        let perHour = Double(traffic.wrong) * 3600 / Double(seconds)
        let p50 = times.seconds(atPercent: 50), p99 = times.seconds(atPercent: 99)
        let rests = "\(crashes) crashes", on = "\(seconds) s"
        let model = Self.models[bar.size]?[bar.loss]
        switch profile {
        case .p:
            report(GossipFigure("\(name).detect.p50", p50, "s", bar: bar.p50, basis: rests))
            report(GossipFigure("\(name).detect.p99", p99, "s", bar: bar.p99, basis: rests))
            report(GossipFigure("\(name).wrong", perHour, "1/h", bar: bar.wrong, basis: on))
            report(GossipFigure("\(name).bytes", traffic.bytes, "B/s", bar: bar.bytes, basis: on))
            if carriage == .streams { report(GossipFigure("\(name).wire", traffic.wire, "B/s", bar: bar.wire, basis: on)) }
        case .f:
            let fast = Self.fastBars[bar.size]
            report(GossipFigure("\(name).detect.p50", p50, "s", bar: fast?.p50, basis: rests))
            report(GossipFigure("\(name).detect.p99", p99, "s", bar: fast?.p99, basis: rests))
            report(GossipFigure("\(name).wrong", perHour, "1/h", bar: bar.wrong, basis: on))
            report(GossipFigure("\(name).bytes", traffic.bytes, "B/s", bar: bar.loss == 0 ? 430 : nil, basis: on))
        case .m:
            report(GossipFigure("\(name).detect.p50", p50, "s", basis: rests))
            report(GossipFigure("\(name).detect.p99", p99, "s", basis: rests))
            if let model {
                report(GossipFigure("\(name).detect.p50.off", abs(p50 / model.p50 - 1) * 100, "%", bar: 15, basis: "model \(model.p50) s"))
                report(GossipFigure("\(name).detect.p99.off", abs(p99 / model.p99 - 1) * 100, "%", bar: 15, basis: "model \(model.p99) s"))
            }
            report(GossipFigure("\(name).wrong", perHour, "1/h", basis: on))
            report(GossipFigure("\(name).bytes", traffic.bytes, "B/s", basis: on))
        }
    }
}
