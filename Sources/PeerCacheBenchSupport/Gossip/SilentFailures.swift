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

    func cells() -> [GossipBars.Cell] {
        Self.bars.filter { options.sizes.contains($0.size) && options.losses.contains($0.loss) }.map { bar in { figures(bar) } }
    }

    /// What one run tells.
    private struct Seen {
        var p50: Double, p99: Double, wrongPerHour: Double, bytes: Double, wire: Double
        var crashes: Int
        var seconds: Int64
    }

    private func figures(_ bar: Bar) -> [GossipFigure] {
        let name = "silent.\(bar.size).\(bar.loss)%"
        let ours = run(bar, .p, .streams)
        var figures = figures("\(name).p.streams", ours, bar, hasWire: true)
        guard options.compares else { return figures }
        var onMessages = bar
        if bar.loss == 30 {
            let (wrong, bytes) = bar.size == 3 ? (0.2, 550.0) : bar.size == 16 ? (0.5, 1_250) : (5, 7_500)
            (onMessages.wrong, onMessages.bytes) = (wrong, bytes)
        }
        figures += self.figures("\(name).p.messages", run(bar, .p, .messages), onMessages, hasWire: false)
        let theirs = run(bar, .m, .messages)
        figures += compared("\(name).m.messages", theirs, Self.models[bar.size]?[bar.loss])
        for (label, mine, other) in [
            ("detect.p50", ours.p50, theirs.p50), ("detect.p99", ours.p99, theirs.p99), ("bytes", ours.bytes, theirs.bytes),
        ] where other > 0 {
            // The bar of the median and of bytes is their value; of the last percent, 5 % above it.
            let most = label == "detect.p99" ? 1.05 : 1
            figures.append(GossipFigure("\(name).p-to-m.\(label)", mine / other, "ratio", bar: most, basis: "the same run"))
        }
        if let fast = Self.fastBars[bar.size], bar.loss < 30 {
            var other = bar
            (other.p50, other.p99, other.bytes) = (fast.p50, fast.p99, bar.loss == 0 ? 430 : .infinity)
            figures += self.figures("\(name).f.streams", run(bar, .f, .streams), other, hasWire: false)
        }
        return figures
    }

    private func run(_ bar: Bar, _ profile: Profile, _ carriage: Carriage) -> Seen {
        let lab = GossipLab(bar.size, lossPercent: bar.loss, carriage: carriage, profile.configuration, seed: options.seed)
        let crashes = max(2, bar.size >= 1000 ? options.crashes / 10 : options.crashes)
        // Where the rules judge wrongly all the time, a tenth tells as much.
        let isNoisy = profile == .m && bar.loss == 30
        let hours = (bar.size <= 16 ? 100 : bar.size <= 128 ? 10 : 1) * options.hoursScale * (isNoisy ? 0.1 : 1)
        let seconds = max(60, Int64(hours * 3600))
        let traffic = lab.quiet(seconds: seconds)
        var times: [Int64] = []
        for _ in 0..<crashes {
            let seat = lab.anySeat()
            times += lab.lose([seat], silently: true)
            lab.refill([seat])
        }
        return Seen(
            p50: times.seconds(atPercent: 50), p99: times.seconds(atPercent: 99),
            wrongPerHour: Double(traffic.wrong) * 3600 / Double(seconds), bytes: traffic.bytes, wire: traffic.wire, crashes: crashes,
            seconds: seconds)
    }

    private func figures(_ name: String, _ seen: Seen, _ bar: Bar, hasWire: Bool) -> [GossipFigure] {
        let crashes = "\(seen.crashes) crashes", time = "\(seen.seconds) s"
        var figures = [
            GossipFigure("\(name).detect.p50", seen.p50, "s", bar: bar.p50, basis: crashes),
            GossipFigure("\(name).detect.p99", seen.p99, "s", bar: bar.p99, basis: crashes),
            GossipFigure("\(name).wrong", seen.wrongPerHour, "1/h", bar: bar.wrong, basis: time),
            GossipFigure("\(name).bytes", seen.bytes, "B/s", bar: bar.bytes.isFinite ? bar.bytes : nil, basis: time),
        ]
        if hasWire { figures.append(GossipFigure("\(name).wire", seen.wire, "B/s", bar: bar.wire, basis: time)) }
        return figures
    }

    /// Profile M beside the model of memberlist.
    private func compared(_ name: String, _ seen: Seen, _ model: (p50: Double, p99: Double)?) -> [GossipFigure] {
        let crashes = "\(seen.crashes) crashes", time = "\(seen.seconds) s"
        var figures = [
            GossipFigure("\(name).detect.p50", seen.p50, "s", basis: crashes),
            GossipFigure("\(name).detect.p99", seen.p99, "s", basis: crashes),
            GossipFigure("\(name).wrong", seen.wrongPerHour, "1/h", basis: time),
            GossipFigure("\(name).bytes", seen.bytes, "B/s", basis: time),
        ]
        guard let model else { return figures }
        for (label, value, expected) in [("p50", seen.p50, model.p50), ("p99", seen.p99, model.p99)] {
            let off = abs(value / expected - 1) * 100
            figures.append(GossipFigure("\(name).detect.\(label).off", off, "%", bar: 15, basis: "model \(expected) s"))
        }
        return figures
    }
}
