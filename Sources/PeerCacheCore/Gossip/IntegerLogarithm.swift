/// Logarithms without floating point: the same on every machine.
package enum IntegerLogarithm {
    /// log2 of a positive number in units of 2^-16, rounded down; 0 for smaller numbers.
    ///
    /// Digit by digit: the number is scaled into 1..<2, and each squaring that reaches 2 is a one bit.
    package static func base2(_ number: Int) -> Int {
        guard number > 1 else { return 0 }
        let whole = Int.bitWidth - 1 - number.leadingZeroBitCount
        // 31 bits after the point.
        var mantissa = whole <= 31 ? UInt64(number) << UInt64(31 - whole) : UInt64(number) >> UInt64(whole - 31)
        var result = whole << 16
        for bit in stride(from: 15, through: 0, by: -1) {
            mantissa = (mantissa * mantissa) >> 31
            if mantissa >= 1 << 32 {
                mantissa >>= 1
                result |= 1 << bit
            }
        }
        return result
    }

    /// log10 in units of 2^-16.
    package static func base10(_ number: Int) -> Int { base2(number) * 19_728 / 65_536 }  // log10(2) = 19,728 / 65,536

    /// The smallest whole number that is not below log10.
    package static func base10RoundedUp(_ number: Int) -> Int {
        var power = 1, result = 0
        while power < number, result < 18 {
            power *= 10
            result += 1
        }
        return result
    }

    /// The smallest whole number that is not below log2.
    package static func base2RoundedUp(_ number: Int) -> Int { number <= 1 ? 0 : Int.bitWidth - (number - 1).leadingZeroBitCount }
}
