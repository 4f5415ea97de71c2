// Streams windows from a file through the verilated `simple_path` and writes what it says of them.
//
// windows: int32 count, channels, samples; int16 [count][samples][channels]
// results: int64 [count][4]: logit 0, logit 1, route bit, cycles
#include <cstdint>
#include <cstdio>
#include <memory>
#include <vector>

#include "Vsimple_path.h"
#include "verilated.h"

static int64_t sign_extended(uint64_t bits) {
    return static_cast<int64_t>(bits << (64 - LOGIT_BITS)) >> (64 - LOGIT_BITS);
}

int main(int argc, char** argv) {
    if (argc != 3) return 2;
    std::FILE* source = std::fopen(argv[1], "rb");
    int32_t header[3];
    if (!source || std::fread(header, sizeof header, 1, source) != 1) return 2;
    const int64_t count = header[0], channels = header[1], words = count * channels * header[2];
    std::vector<int16_t> samples(words);
    if (std::fread(samples.data(), 2, words, source) != static_cast<size_t>(words)) return 2;
    std::fclose(source);

    const std::unique_ptr<VerilatedContext> context{new VerilatedContext};
    const std::unique_ptr<Vsimple_path> dut{new Vsimple_path{context.get()}};
    auto tick = [&] {
        dut->clock = 1;
        dut->eval();
        dut->clock = 0;
        dut->eval();
    };
    dut->reset = 1;
    dut->sample_valid = 0;
    for (int i = 0; i < 4; ++i) tick();
    dut->reset = 0;

    std::vector<int64_t> results;
    int64_t sent = 0, cycles = 0, idle = 0;
    while (static_cast<int64_t>(results.size()) < 4 * count) {
        dut->sample_valid = sent < words;
        if (sent < words) {
            dut->sample = static_cast<uint16_t>(samples[sent]) & ((1u << SAMPLE_BITS) - 1);
            dut->sample_channel = sent % channels;
        }
        // Outputs depend on registers alone: they are those of the last edge.
        const bool taken = sent < words && dut->sample_ready;
        cycles += dut->busy;
        // A design that hangs must not hang its simulation.
        idle = taken || dut->result_valid ? 0 : idle + 1;
        if (idle > (int64_t{1} << 28)) return 3;
        if (dut->result_valid) {
            results.insert(results.end(), {sign_extended(dut->logit_0), sign_extended(dut->logit_1), dut->to_complex, cycles});
            cycles = 0;
        }
        tick();
        sent += taken;
    }
    std::FILE* sink = std::fopen(argv[2], "wb");
    if (!sink || std::fwrite(results.data(), 8, results.size(), sink) != results.size()) return 2;
    return std::fclose(sink) == 0 ? 0 : 2;
}
