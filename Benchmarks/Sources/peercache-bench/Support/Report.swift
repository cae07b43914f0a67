import Foundation

/// Prints measurements: a table for people, or one JSON object per line.
enum Report {
    static func write(_ measurements: Measurements, asJSON: Bool) {
        if asJSON {
            for measurement in measurements.all { print(line(measurement)) }
        } else {
            table(measurements.all)
        }
    }

    /// Progress goes to standard error, so that standard output holds the result alone.
    static func progress(_ text: String) { FileHandle.standardError.write(Data((text + "\n").utf8)) }

    // MARK: JSON

    private struct Line: Encodable {
        var metric: String
        var value: Double
        var unit: String
        var min: Double
        var max: Double
        var peer: String?
        var peerValue: Double?
        var peerMin: Double?
        var peerMax: Double?
        var ratio: Double?
        var ratioMin: Double?
        var ratioMax: Double?
    }

    private static func line(_ measurement: Measurement) -> String {
        let ratios = measurement.ratios
        var line = Line(
            metric: measurement.metric, value: rounded(measurement.values.median), unit: measurement.unit,
            min: rounded(measurement.values.min() ?? 0), max: rounded(measurement.values.max() ?? 0))
        if let peer = measurement.peer, !ratios.isEmpty {
            line.peer = peer
            line.peerValue = rounded(measurement.peerValues.median)
            line.peerMin = measurement.peerValues.min().map(rounded)
            line.peerMax = measurement.peerValues.max().map(rounded)
            line.ratio = rounded(ratios.median)
            line.ratioMin = ratios.min().map(rounded)
            line.ratioMax = ratios.max().map(rounded)
        }
        return encoded(line)
    }

    /// One object on one line.
    static func encoded(_ value: some Encodable) -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return (try? encoder.encode(value)).map { String(decoding: $0, as: UTF8.self) } ?? "{}"
    }

    private static func rounded(_ value: Double) -> Double { (value * 1000).rounded() / 1000 }

    // MARK: Table

    private static func table(_ measurements: [Measurement]) {
        var rows = [["metric", "median", "min–max", "unit", "other", "median", "min–max", "ratio", "min–max"]]
        for measurement in measurements {
            let ratios = measurement.ratios
            var row = [measurement.metric, text(measurement.values.median), spread(measurement.values), measurement.unit]
            if let peer = measurement.peer, !ratios.isEmpty {
                row += [peer, text(measurement.peerValues.median), spread(measurement.peerValues), text(ratios.median), spread(ratios)]
            }
            rows.append(row + Array(repeating: "", count: rows[0].count - row.count))
        }
        let shown = filled(rows)
        let widths = shown[0].indices.map { column in shown.map { $0[column].count }.max() ?? 0 }
        for row in shown {
            let cells = row.indices.map { column in
                let padding = String(repeating: " ", count: widths[column] - row[column].count)
                return isText(shown[0][column]) ? row[column] + padding : padding + row[column]
            }
            print(cells.joined(separator: "  ").replacing(#/ +$/#, with: ""))
        }
    }

    /// The same table in Markdown.
    /// - Parameter rows: headings first.
    static func markdown(_ rows: [[String]]) -> String {
        let shown = filled(rows)
        let rule = shown[0].map { isText($0) ? "---" : "---:" }
        return ([shown[0], rule] + shown.dropFirst()).map { "| \($0.joined(separator: " | ")) |\n" }.joined()
    }

    /// Without the columns that are empty in all rows.
    private static func filled(_ rows: [[String]]) -> [[String]] {
        let columns = rows[0].indices.filter { column in rows.dropFirst().contains { !$0[column].isEmpty } }
        return rows.map { row in columns.map { row[$0] } }
    }

    /// Columns of words stand left, columns of numbers right.
    private static func isText(_ heading: String) -> Bool { ["metric", "unit", "other"].contains(heading) }

    private static func spread(_ values: [Double]) -> String { spread(values.min(), values.max()) }

    /// Nothing of a single value.
    static func spread(_ min: Double?, _ max: Double?) -> String {
        guard let min, let max, min < max else { return "" }
        return "\(text(min))–\(text(max))"
    }

    static func text(_ value: Double) -> String {
        guard value.magnitude < 1e15 else { return "\(value)" }
        return value >= 1000 ? "\(Int(value.rounded()))" : String(format: value >= 100 ? "%.0f" : value >= 10 ? "%.1f" : "%.2f", value)
    }
}
