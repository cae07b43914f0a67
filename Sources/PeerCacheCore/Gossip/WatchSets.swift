/// Who watches whom (`GOSSIP.md` §5): the watchers of X are the next members after X in id order, so that a joiner or a death moves few of
/// them. Computed from the table when asked, and kept until the table changes.
enum WatchSets {
    /// Members after X that are looked at: beyond, hosts and zones do not matter.
    private static let window = 64

    /// The watchers of the member at `index` of an id-ordered list, as indices, nearest first. At most `count`; fewer than `count` others
    /// watch all together. No host and no zone gives more than half while others are within the window. O(window).
    static func watchers(of index: Int, among members: [MemberRecord], count: Int) -> [Int] {
        let others = members.count - 1
        guard others > count else { return (1..<max(1, members.count)).map { (index + $0) % members.count } }
        var chosen: [Int] = [], skipped: [Int] = []
        let half = count / 2
        for step in 1...min(window, others) {
            if chosen.count == count { break }
            let candidate = (index + step) % members.count, record = members[candidate]
            let sameHost = chosen.count { members[$0].address.host == record.address.host }
            let sameZone = record.zone.isEmpty ? 0 : chosen.count { members[$0].zone == record.zone }
            if sameHost >= half || sameZone >= half { skipped.append(candidate) } else { chosen.append(candidate) }
        }
        chosen += skipped.prefix(count - chosen.count)
        return chosen
    }
}

extension GossipMachine {
    /// Placed members in id order.
    private var placedRecords: [MemberRecord] { members.values.compactMap { $0.status.isPlaced ? $0.record : nil } }

    /// Who may vote about the member, whether it is placed or not. O(members).
    func watchers(of peer: PeerID) -> [PeerID] {
        guard let subject = members[peer] else { return [] }
        var records = placedRecords
        let index = records.firstIndex { $0.id >= peer } ?? records.count
        if index == records.count || records[index].id != peer { records.insert(subject.record, at: index) }
        return WatchSets.watchers(of: index, among: records, count: configuration.watchers).map { records[$0].id }
    }

    /// The members that this peer watches: only the nearest before it can have it among their watchers. O(members).
    func watchedByMe() -> [PeerID] {
        let records = placedRecords
        guard let mine = records.firstIndex(where: { $0.id >= me.id }), records[mine].id == me.id else { return [] }
        var watched: [PeerID] = []
        for step in 1...max(1, min(64, records.count - 1)) where records.count > 1 {
            let index = (mine - step + records.count) % records.count
            if WatchSets.watchers(of: index, among: records, count: configuration.watchers).contains(mine) {
                watched.append(records[index].id)
            }
        }
        return watched
    }

    /// Whether a connection to the member is kept although nothing is to be sent.
    func keepsConnection(to peer: PeerID) -> Bool {
        if configuration.isObserver { return false }
        if members.count - departedCount <= configuration.fullMeshMax { return true }
        return watched.contains(peer) || watchingMe.contains(peer)
    }

    /// Above `fullMeshMax` members: whom we watch and who watches us, computed again after a change, once per period. O(members).
    mutating func refreshWatched() {
        guard members.count - departedCount > configuration.fullMeshMax, version != watchedVersion else { return }
        watchedVersion = version
        watched = watchedByMe()
        watchingMe = watchers(of: me.id)
        for peer in watched + watchingMe where links[peer]?.open.isEmpty == true { dialSoon(peer) }
    }
}
