/// How news travels (`GOSSIP.md` §8): on probes, in rounds while there is any, and at once when a status changed.
extension GossipMachine {
    private static let claimsMax = 1_024
    private static let flushMembers = 4
    private static let flushGap = Duration.milliseconds(20)
    private static let flushTokensMax = 10
    private static let flushTokenEvery = Duration.milliseconds(100)
    private static let secondFlushAfter = Duration.milliseconds(50)

    /// Members in all that hold slots, this peer included: the N of the rules.
    var memberCount: Int { max(1, placedCount) }

    private var sendsMax: Int { configuration.sendsFactor * max(1, IntegerLogarithm.base10RoundedUp(memberCount + 1)) }

    /// Queues what holds about a member. Its record goes along when others may lack it.
    mutating func spread(_ id: PeerID, withRecord: Bool, accuser: UInt32 = 0, urgently: Bool) {
        guard let member = members[id], !configuration.isObserver else { return }
        queue.add(MemberClaim(member, accuser: accuser, withRecord: withRecord), record: member.record)
        if urgently, configuration.flushesUrgently { isUrgent = true }
    }

    /// What is put on one probe message.
    mutating func takeClaims() -> [MemberClaim] {
        if queue.isEmpty { return [] }
        return queue.next(bytes: configuration.claimBytesMax, countMax: Self.claimsMax, receivers: 1, sendsMax: sendsMax)
    }

    /// At the end of each turn: sends what is due and plans the rest.
    mutating func planSends() {
        // Nobody is left to tell.
        if members.count - departedCount <= 1, !queue.isEmpty { queue = BroadcastQueue() }
        if queue.isEmpty {
            (gossipAt, flushAt, secondFlushAt, isUrgent) = (nil, nil, nil, false)
            return
        }
        if isUrgent, flushAt == nil { flushAt = flushTime() }
        if let due = flushAt, due <= now { flush() }
        if let due = secondFlushAt, due <= now {
            secondFlushAt = nil
            sendClaims(to: randomMembers(Self.flushMembers, except: lastFlushedTo), bytes: configuration.claimBytesMax)
        }
        guard let due = gossipAt else { return gossipAt = now + configuration.gossipEvery }
        guard due <= now else { return }
        gossipAt = queue.isEmpty ? nil : now + configuration.gossipEvery
        sendClaims(to: receiversOfRound(), bytes: configuration.roundBytesMax)
    }

    /// Flushes are at least 20 ms apart, and at most 10 in a second on average.
    private mutating func flushTime() -> Instant {
        let earned = (now - flushTokensAt).nanosecondsSaturating / Self.flushTokenEvery.nanosecondsSaturating
        if earned > 0 {
            flushTokens = Int(min(Int64(Self.flushTokensMax), Int64(flushTokens) + min(earned, Int64(Self.flushTokensMax))))
            flushTokensAt = now
        }
        let next = flushTokens > 0 ? now : flushTokensAt + Self.flushTokenEvery
        return lastFlushAt.map { max(next, $0 + Self.flushGap) } ?? next
    }

    private mutating func flush() {
        (flushAt, isUrgent) = (nil, false)
        flushTokens = max(0, flushTokens - 1)
        lastFlushAt = now
        lastFlushedTo = randomMembers(Self.flushMembers, except: [])
        secondFlushAt = now + Self.secondFlushAfter
        sendClaims(to: lastFlushedTo, bytes: configuration.claimBytesMax)
    }

    private mutating func sendClaims(to receivers: [PeerID], bytes: Int) {
        guard !receivers.isEmpty, !queue.isEmpty else { return }
        let claims = queue.next(bytes: bytes, countMax: Self.claimsMax, receivers: receivers.count, sendsMax: sendsMax)
        if claims.isEmpty { return }
        for peer in receivers { post(.claims(placement: digest, claims), to: peer) }
    }

    /// To everybody we are connected to, without counting: what nobody may miss.
    mutating func tellAll(_ id: PeerID) {
        guard let member = members[id] else { return }
        let claims = [MemberClaim(member, withRecord: true)]
        for (peer, link) in zip(links.keys, links.values) where peer != id {
            if let connection = preferred(link) { send(.claims(placement: digest, claims), to: peer, on: connection) }
        }
    }

    // MARK: Choosing members

    /// Other members at random, without repetition: `alive` and `suspect` ones, and those that are leaving.
    mutating func randomMembers(_ count: Int, except excluded: [PeerID]) -> [PeerID] {
        randomMembers(count, except: excluded) { $0.status.isPresent }
    }

    /// Drawn from the links, as those of present members and few others: after many restarts most of the table has departed.
    mutating func randomMembers(_ count: Int, except excluded: [PeerID], where suits: (Member) -> Bool) -> [PeerID] {
        randomMembers(count, from: links.keys, except: excluded, where: suits)
    }

    private mutating func randomMembers(
        _ count: Int, from ids: [PeerID], except excluded: [PeerID], where suits: (Member) -> Bool
    ) -> [PeerID] {
        guard count > 0, !ids.isEmpty else { return [] }
        var chosen: [PeerID] = []
        if ids.count <= 4 * (count + excluded.count) + 16 {
            var all = ids.filter { id in id != me.id && !excluded.contains(id) && members[id].map(suits) ?? false }
            while chosen.count < count, !all.isEmpty {
                let index = random.below(all.count)
                chosen.append(all[index])
                all.swapAt(index, all.count - 1)
                all.removeLast()
            }
            return chosen
        }
        for _ in 0..<8 * (count + 2) where chosen.count < count {
            let id = ids[random.below(ids.count)]
            if id != me.id, !excluded.contains(id), !chosen.contains(id), members[id].map(suits) ?? false { chosen.append(id) }
        }
        return chosen
    }

    /// Present members, and the dead that still get gossip.
    private mutating func receiversOfRound() -> [PeerID] {
        guard configuration.gossipToDeadFor > .zero else { return randomMembers(configuration.gossipMembers, except: []) }
        let oldest = oldestDeadToTell
        let ids = members.values.filter { $0.status.isPresent || $0.status == .dead && $0.since > oldest }.map(\.record.id)
        return randomMembers(configuration.gossipMembers, from: ids, except: []) { _ in true }
    }

    /// HLC reading of the verdict up to which the dead still get gossip.
    private var oldestDeadToTell: UInt64 {
        let span = UInt64(clamping: configuration.gossipToDeadFor.nanosecondsSaturating / 1_000_000) << 16
        return now.hlc > span ? now.hlc - span : 0
    }

    // MARK: Sending

    /// On the best open connection; without one a dial is started and the message goes when it is done.
    mutating func post(_ message: GossipMessage, to peer: PeerID) {
        if let link = links[peer], let connection = preferred(link) { return send(message, to: peer, on: connection) }
        guard members[peer]?.status.isPresent == true else { return }
        links.change(peer) { link in
            if link.waiting.count >= Link.waitingMax { link.waiting.removeFirst() }
            link.waiting.append(message)
        }
        dialSoon(peer)
    }

    mutating func send(_ message: GossipMessage, to peer: PeerID, on connection: ConnectionID) {
        if configuration.isObserver, !Self.isObserversQuestion(message) { return }
        if case .ping = message {
            links.change(peer) { link in
                for index in link.open.indices where link.open[index].id == connection {
                    link.open[index].askedAt = link.open[index].askedAt ?? now
                }
            }
        }
        effects.append(.send(message, to: peer, on: connection))
    }
}
