/// The sending half of one end of a stream, as Linux does it as far as gossip can tell: selective acknowledgements, recovery by what was
/// delivered later (RFC 8985, RACK-TLP), a retransmission time of 200 ms that doubles (RFC 6298), a window that falls with losses.
///
/// Counts in segments: a message has one per 1,400 bytes, and the last one carries it.
struct StreamSender {
    struct Segment {
        var payload: StreamPayload?
        var bytes: Int
        /// Last transmission, and its number: of two at one time the higher one is later.
        var sentAt: Int64 = 0
        var order = 0
        var isSent = false
        var isHeld = false
        var isLost = false
    }
    /// When the timer is due; `probe`: send once more to find out (RACK-TLP), before the window is given up.
    struct Timer: Equatable {
        var at: Int64
        var isProbe: Bool
    }

    static let segmentBytes = 1_400

    /// Not yet acknowledged, oldest first; the first one's number is `base`.
    private(set) var segments: [Segment] = []
    private(set) var base = 0
    private(set) var timer: Timer?
    private var sentCount = 0  // of `segments`, a prefix
    private var estimate = RoundTripEstimate()
    private var window = 10, threshold = Int.max
    /// Acknowledged since the window last grew by one, above the threshold.
    private var credit = 0
    private var backoff = 0
    private var transmissions = 0
    private var hasProbed = false
    /// In recovery or after a timeout: until everything below this number has arrived.
    private var recoversUntil: Int?
    private var hasTimedOut = false
    /// Since when the other side has acknowledged nothing although something is under way.
    private(set) var stuckSince: Int64?

    var isIdle: Bool { segments.isEmpty }

    mutating func enqueue(_ payload: StreamPayload, bytes: Int) {
        let count = max(1, (bytes + Self.segmentBytes - 1) / Self.segmentBytes)
        for index in 0..<count {
            let rest = bytes - index * Self.segmentBytes
            segments.append(Segment(payload: index == count - 1 ? payload : nil, bytes: max(0, min(rest, Self.segmentBytes))))
        }
    }

    /// The next segment that the window allows, marked as sent at `now`; nil: none. The caller calls until nil, then ``arm(_:)``.
    mutating func nextToSend(_ now: Int64) -> (number: Int, segment: Segment)? {
        guard inFlight < window else { return nil }
        guard let index = segments[..<sentCount].firstIndex(where: { $0.isLost }) ?? (sentCount < segments.count ? sentCount : nil) else {
            return nil
        }
        return send(index, now)
    }

    private var inFlight: Int { segments[..<sentCount].count { !$0.isHeld && !$0.isLost } }

    private mutating func send(_ index: Int, _ now: Int64) -> (number: Int, segment: Segment) {
        if index == sentCount {
            sentCount += 1
            if index == 0 || timer?.isProbe == true { timer = nil }  // armed anew from here
        }
        transmissions += 1
        segments[index].sentAt = now
        segments[index].order = transmissions
        segments[index].isSent = true
        segments[index].isLost = false
        if stuckSince == nil { stuckSince = now }
        return (base + index, segments[index])
    }

    /// Sets the timer where none runs.
    mutating func arm(_ now: Int64) {
        guard sentCount > 0 else { return timer = nil }
        guard timer == nil else { return }
        let timeout = estimate.timeout(backoff: backoff)
        let isCalm = recoversUntil == nil && !hasProbed && !segments[..<sentCount].contains { $0.isHeld }
        guard isCalm else { return timer = Timer(at: now + timeout, isProbe: false) }
        let wait = 2 * estimate.smoothed + (sentCount == 1 ? 200_000_000 : 8_000_000)
        timer = Timer(at: max(now, min(now + wait, segments[0].sentAt + timeout)), isProbe: true)
    }

    /// The timer ran out. The caller sends what is returned, then what ``nextToSend(_:)`` gives.
    mutating func timedOut(_ now: Int64) -> (number: Int, segment: Segment)? {
        guard let due = timer, sentCount > 0 else { return nil }
        timer = nil
        if due.isProbe {
            hasProbed = true
            let index = sentCount < segments.count ? sentCount : segments[..<sentCount].lastIndex { !$0.isHeld } ?? 0
            let sent = send(index, now)
            timer = Timer(at: now + estimate.timeout(backoff: backoff), isProbe: false)
            return sent
        }
        if !hasTimedOut { threshold = max(2, window * 7 / 10) }
        hasTimedOut = true
        recoversUntil = base + sentCount
        window = 1
        backoff += 1
        for index in 0..<sentCount where !segments[index].isHeld { segments[index].isLost = true }
        return nil
    }

    /// Doubles per round below the threshold, grows by one above; only while the window is what limits.
    private mutating func grow(by advanced: Int, wasInFlight: Int) {
        if window < threshold {
            if window < 2 * wasInFlight { window = min(256, window + advanced) }
        } else if wasInFlight >= window {
            credit += advanced
            if credit >= window { (window, credit) = (min(256, window + 1), 0) }
        }
    }

    /// The other side has everything below `number`, and the segments in `held`.
    mutating func acknowledged(below number: Int, held: [Int], _ now: Int64) {
        let wasInFlight = inFlight
        var latest = (order: 0, isNews: false), advanced = 0, sample: Int64?
        while base < number, let first = segments.first, first.isSent {
            if !first.isHeld {
                latest = (max(latest.order, first.order), true)
                sample = sample ?? now - first.sentAt
            }
            latest.isNews = true
            segments.removeFirst()
            base += 1
            sentCount -= 1
            advanced += 1
        }
        for number in held where number >= base && number - base < sentCount && !segments[number - base].isHeld {
            segments[number - base].isHeld = true
            segments[number - base].isLost = false
            latest = (max(latest.order, segments[number - base].order), true)
            sample = sample ?? now - segments[number - base].sentAt
        }
        guard latest.isNews else { return }
        stuckSince = sentCount > 0 ? now : nil
        if let sample { estimate.sample(sample, acknowledged: base, next: base + sentCount) }
        if advanced > 0 {
            backoff = 0
            hasProbed = false
            grow(by: advanced, wasInFlight: wasInFlight)
            if let end = recoversUntil, base >= end {
                if !hasTimedOut { window = max(2, min(window, threshold)) }
                recoversUntil = nil
                hasTimedOut = false
            }
        }
        var hasLost = false
        for index in 0..<sentCount where !segments[index].isHeld && !segments[index].isLost && segments[index].order < latest.order {
            segments[index].isLost = true
            hasLost = true
        }
        if hasLost, recoversUntil == nil {
            threshold = max(2, window * 7 / 10)
            window = threshold
            recoversUntil = base + sentCount
        }
        timer = nil
    }
}

/// The receiving half: puts segments in order.
struct StreamReceiver {
    /// Number of the next segment to hand up.
    private(set) var expected = 0
    /// What came before its turn, by number. At most 256.
    private var early: [(number: Int, payload: StreamPayload?)] = []
    /// When a pure acknowledgement goes out, unless data takes it along before.
    var acknowledgeAt: Int64?

    /// Numbers that came before their turn, ascending.
    var held: [Int] { early.map(\.number) }

    /// - Returns: what can be handed up now, and whether the sender should hear at once.
    mutating func receive(_ number: Int, _ payload: StreamPayload?) -> (ready: [StreamPayload], isUrgent: Bool) {
        guard number >= expected, early.count < 256, !early.contains(where: { $0.number == number }) else { return ([], true) }
        guard number == expected else {
            early.insert((number, payload), at: early.firstIndex { $0.number > number } ?? early.count)
            return ([], true)
        }
        let hadGap = !early.isEmpty
        var ready: [StreamPayload] = []
        if let payload { ready.append(payload) }
        expected += 1
        while let first = early.first, first.number == expected {
            early.removeFirst()
            if let payload = first.payload { ready.append(payload) }
            expected += 1
        }
        return (ready, hadGap)
    }
}
