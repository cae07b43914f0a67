import Foundation

/// What a figure was measured on. Sizes, not names.
struct Machine: Codable {
    var cores: Int
    var cpu: String
    var memoryGiB: Double
    var kernel: String
    var compiler: String
    /// Programs that were measured against, by name.
    var peers: [String: String]

    init(peers: [String: String]) {
        let info = ProcessInfo.processInfo
        cores = info.activeProcessorCount
        cpu = Self.cpuModel ?? "unknown"
        memoryGiB = (Double(info.physicalMemory) / Double(1 << 30) * 10).rounded() / 10
        kernel = info.operatingSystemVersionString
        compiler = Self.swiftVersion
        self.peers = peers
    }

    var description: String {
        let versions = peers.sorted { $0.key < $1.key }.map { ", \($0.key) \($0.value)" }.joined()
        return "\(cores) cores (\(cpu)), \(memoryGiB) GiB, \(kernel), Swift \(compiler)\(versions)"
    }

    /// The first line of every report.
    static func write(peers: [String: String] = [:], asJSON: Bool) {
        let machine = Machine(peers: peers)
        print(asJSON ? Report.encoded(["machine": machine]) : machine.description)
    }

    private static var cpuModel: String? {
        let lines = (try? String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8))?.split(separator: "\n") ?? []
        return lines.first { $0.hasPrefix("model name") }?.split(separator: ":").last.map {
            $0.trimmingCharacters(in: .whitespaces)
        }
    }

    private static var swiftVersion: String {
        #if compiler(>=6.4)
        "6.4 or later"
        #elseif compiler(>=6.3)
        "6.3"
        #elseif compiler(>=6.2)
        "6.2"
        #else
        "6.1"
        #endif
    }
}
