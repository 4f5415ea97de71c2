// Tensors are [time][channels]. A layer is a struct of constants; `requantise` is the only rounding there is.
static_assert((-1 >> 1) == -1, "right shifts of negative numbers must keep the sign");

namespace kernels {

// clamp(round_half_even(sum / 2**shift), low, high)
template <class Layer, class Sum>
inline typename Layer::Out requantise(Sum sum) {
    if constexpr (Layer::shift > 0) {
        sum = (sum + ((Sum(1) << (Layer::shift - 1)) - 1) + ((sum >> Layer::shift) & 1)) >> Layer::shift;
    }
    constexpr Sum low = Sum(Layer::low), high = Sum(Layer::high);
    return static_cast<typename Layer::Out>(sum < low ? low : sum > high ? high : sum);
}

inline int64_t shift_right(int64_t value, int shift) {
    return shift == 0 ? value : (value + ((int64_t(1) << (shift - 1)) - 1) + ((value >> shift) & 1)) >> shift;
}

constexpr int block_of(int filters) {
    int block = filters < 32 ? filters : 32;
    while (filters % block) --block;
    return block;
}

// total[f] += sum over i of weight[i][f] * patch[i]. Sums of `Layer::terms` products fit `Layer::Product` for these
// weights and any input; longer sums are in `Acc`. Entries of the patch are `per_group` of every `stride` apart.
template <class Layer, int block, int count, int per_group, int stride, int filters, class Acc>
inline void add_products(const typename Layer::In *patch, const typename Layer::Weight *weight, Acc *total) {
    using Product = typename Layer::Product;
    for (int start = 0; start < count; start += Layer::terms) {
        const int end = start + Layer::terms < count ? start + Layer::terms : count;
        Product part[block] = {};
        for (int i = start; i < end; ++i) {
            const Product value = patch[per_group == stride ? i : i / per_group * stride + i % per_group];
            for (int f = 0; f < block; ++f) part[f] += Product(weight[i * filters + f]) * value;
        }
        for (int f = 0; f < block; ++f) total[f] += part[f];
    }
}

template <class Layer, int block, int per_group, int filters>
inline void filter_block(const typename Layer::In *patch, const typename Layer::Weight *weight, const int64_t *bias,
                         typename Layer::Out *out) {
    typename Layer::Acc total[block];
    for (int f = 0; f < block; ++f) total[f] = static_cast<typename Layer::Acc>(bias[f]);
    add_products<Layer, block, Layer::K * per_group, per_group, Layer::C, filters>(patch, weight, total);
    for (int f = 0; f < block; ++f) out[f] = requantise<Layer>(total[f]);
}

// One filter per channel: weight[k][channel].
template <class Layer>
inline void depthwise(const typename Layer::In *patch, typename Layer::Out *out) {
    using Product = typename Layer::Product;
    constexpr int block = block_of(Layer::C);
    for (int first = 0; first < Layer::C; first += block) {
        typename Layer::Acc total[block];
        for (int c = 0; c < block; ++c) total[c] = static_cast<typename Layer::Acc>(Layer::bias[first + c]);
        for (int start = 0; start < Layer::K; start += Layer::terms) {
            const int end = start + Layer::terms < Layer::K ? start + Layer::terms : Layer::K;
            Product part[block] = {};
            for (int k = start; k < end; ++k) {
                const int at = k * Layer::C + first;
                for (int c = 0; c < block; ++c) part[c] += Product(Layer::weight[at + c]) * Product(patch[at + c]);
            }
            for (int c = 0; c < block; ++c) total[c] += part[c];
        }
        for (int c = 0; c < block; ++c) out[first + c] = requantise<Layer>(total[c]);
    }
}

template <class Layer>
void conv1d(const typename Layer::In *in, typename Layer::Out *out) {
    constexpr int per_group = Layer::C / Layer::groups, filters = Layer::F / Layer::groups;
    constexpr int block = block_of(filters);
    typename Layer::In edge[Layer::K * Layer::C];
    for (int t = 0; t < Layer::steps; ++t, out += Layer::F) {
        const int first = t * Layer::stride - Layer::padding;
        const typename Layer::In *patch = edge;
        if (first >= 0 && first + Layer::K <= Layer::T) {
            patch = in + first * Layer::C;
        } else {
            for (int k = 0; k < Layer::K; ++k)
                for (int c = 0; c < Layer::C; ++c) {
                    const bool inside = first + k >= 0 && first + k < Layer::T;
                    edge[k * Layer::C + c] = inside ? in[(first + k) * Layer::C + c] : 0;
                }
        }
        if constexpr (Layer::groups == Layer::C && Layer::F == Layer::C && Layer::C > 1) {
            depthwise<Layer>(patch, out);
        } else {
            for (int g = 0; g < Layer::groups; ++g)
                for (int f = 0; f < filters; f += block)
                    filter_block<Layer, block, per_group, filters>(
                        patch + g * per_group, Layer::weight + g * filters * per_group * Layer::K + f,
                        Layer::bias + g * filters + f, out + g * filters + f);
        }
    }
}

template <class Layer>
void average_pool(const typename Layer::In *in, typename Layer::Out *out) {
    for (int t = 0; t < Layer::steps; ++t)
        for (int c = 0; c < Layer::C; ++c) {
            typename Layer::Acc sum = 0;
            for (int i = 0; i < Layer::size; ++i) sum += in[(t * Layer::size + i) * Layer::C + c];
            out[t * Layer::C + c] = requantise<Layer>(sum);
        }
}

template <class Layer>
void sum_over_time(const typename Layer::In *in, typename Layer::Out *out) {
    typename Layer::Acc sum[Layer::C] = {};
    for (int t = 0; t < Layer::T; ++t)
        for (int c = 0; c < Layer::C; ++c) sum[c] += in[t * Layer::C + c];
    for (int c = 0; c < Layer::C; ++c) out[c] = requantise<Layer>(sum[c]);
}

template <class Layer>
void sum_over_channels(const typename Layer::In *in, typename Layer::Out *out) {
    for (int t = 0; t < Layer::T; ++t) {
        typename Layer::Acc sum = 0;
        for (int c = 0; c < Layer::C; ++c) sum += in[t * Layer::C + c];
        out[t] = requantise<Layer>(sum);
    }
}

template <class Layer>
void maximum_over_time(const typename Layer::In *in, typename Layer::Out *out) {
    for (int c = 0; c < Layer::C; ++c) out[c] = in[c];
    for (int t = 1; t < Layer::T; ++t)
        for (int c = 0; c < Layer::C; ++c)
            if (in[t * Layer::C + c] > out[c]) out[c] = in[t * Layer::C + c];
}

template <class Layer>
void maximum_over_channels(const typename Layer::In *in, typename Layer::Out *out) {
    for (int t = 0; t < Layer::T; ++t) {
        out[t] = in[t * Layer::C];
        for (int c = 1; c < Layer::C; ++c)
            if (in[t * Layer::C + c] > out[t]) out[t] = in[t * Layer::C + c];
    }
}

template <class Layer>
void concatenate_time(const typename Layer::In *first, const typename Layer::Gate *second, typename Layer::Out *out) {
    for (int i = 0; i < Layer::T * Layer::C; ++i) out[i] = first[i];
    for (int i = 0; i < Layer::gate_T * Layer::C; ++i) out[Layer::T * Layer::C + i] = second[i];
}

template <class Layer>
void concatenate_channels(const typename Layer::In *first, const typename Layer::Gate *second,
                          typename Layer::Out *out) {
    for (int t = 0; t < Layer::T; ++t) {
        for (int c = 0; c < Layer::C; ++c) *out++ = first[t * Layer::C + c];
        for (int c = 0; c < Layer::gate_C; ++c) *out++ = second[t * Layer::gate_C + c];
    }
}

template <class Layer>
void hard_sigmoid(const typename Layer::In *in, typename Layer::Out *out) {
    using Acc = typename Layer::Acc;
    for (int i = 0; i < Layer::T * Layer::C; ++i) out[i] = requantise<Layer>(Acc(in[i]) + Acc(Layer::half));
}

template <class Layer>
void multiply(const typename Layer::In *in, const typename Layer::Gate *gate, typename Layer::Out *out) {
    using Acc = typename Layer::Acc;
    for (int t = 0; t < Layer::T; ++t) {
        const typename Layer::Gate *row = gate + (Layer::gate_T == 1 ? 0 : t * Layer::gate_C);
        for (int c = 0; c < Layer::C; ++c) {
            const Acc product = Acc(in[t * Layer::C + c]) * Acc(row[Layer::gate_C == 1 ? 0 : c]);
            out[t * Layer::C + c] = requantise<Layer>(product);
        }
    }
}

template <class Layer>
void fourier_bands(const typename Layer::In *in, typename Layer::Out *out) {
    constexpr int rows = 2 * Layer::bins, block = block_of(rows);
    int64_t products[rows] = {};
    for (int r = 0; r < rows; r += block)
        add_products<Layer, block, Layer::T, 1, 1, rows>(in, Layer::table + r, products + r);
    for (int r = 0; r < rows; ++r) products[r] = shift_right(products[r], Layer::product_shift);
    for (int band = 0, bin = 0; band < Layer::bands; ++band) {
        int64_t energy = Layer::floor;
        for (const int end = bin + Layer::bins_per_band[band]; bin < end; ++bin)
            energy += products[bin] * products[bin] + products[Layer::bins + bin] * products[Layer::bins + bin];
        int position = 0;
        while (energy >> (position + 1)) ++position;
        const int cut = position - Layer::index_bits;
        const int64_t aligned = cut >= 0 ? energy >> cut : energy << -cut;
        const int64_t mantissa = aligned - (int64_t(1) << Layer::index_bits);
        const int64_t logarithm = (int64_t(position) << Layer::log2_bits) + Layer::log2_table[mantissa];
        out[band] = requantise<Layer>(logarithm + Layer::offset);
    }
}

template <class Layer>
inline typename Layer::Out clamped(int64_t value) {
    return static_cast<typename Layer::Out>(value < Layer::low ? Layer::low : value > Layer::high ? Layer::high : value);
}

template <class Layer>
void window_statistics(const typename Layer::In *in, typename Layer::Out *out) {
    int64_t sum = 0;
    for (int t = 0; t < Layer::T; ++t) sum += in[t];
    const int64_t mean = shift_right(sum, Layer::halvings);
    int64_t variance = 0, peak = 0, crossings = 0;
    for (int t = 0; t < Layer::T; ++t) {
        const int64_t centred = in[t] - mean, magnitude = centred < 0 ? -centred : centred;
        variance += centred * centred;
        if (magnitude > peak) peak = magnitude;
        if (t > 0) crossings += (centred >= 0) != (in[t - 1] - mean >= 0);
    }
    out[0] = clamped<Layer>(shift_right(variance, Layer::variance_shift));
    out[1] = clamped<Layer>(shift_right(peak, Layer::peak_shift));
    out[2] = clamped<Layer>(shift_right(crossings, Layer::crossings_shift));
}

}  // namespace kernels
