// Walks through the layers of `layer_program`: for every output (channel, position) it reads the operands of all
// (input channel, tap) pairs in turn. Addresses only ever move by sums, so no multiplier is spent on them.
module layer_sequencer #(
    parameter LAYER_BITS = 3,
    parameter COUNT_BITS = 10,
    parameter X_ADDRESS_BITS = 13,
    parameter W_ADDRESS_BITS = 15,
    parameter B_ADDRESS_BITS = 8,
    parameter DRAIN_BITS = 7
) (
    input wire clock,
    input wire reset,
    input wire start,
    output wire busy,
    output reg done,
    output reg [LAYER_BITS-1:0] layer,
    // The present layer, from `layer_program`.
    input wire last_layer,
    input wire [X_ADDRESS_BITS-1:0] x_base,
    input wire [X_ADDRESS_BITS-1:0] channel_step,
    input wire [X_ADDRESS_BITS-1:0] position_step,
    input wire [X_ADDRESS_BITS-1:0] output_step,
    input wire [COUNT_BITS-1:0] taps,
    input wire [COUNT_BITS-1:0] channels,
    input wire [COUNT_BITS-1:0] positions,
    input wire [COUNT_BITS-1:0] outputs,
    input wire [W_ADDRESS_BITS-1:0] w_base,
    input wire [B_ADDRESS_BITS-1:0] b_base,
    input wire [DRAIN_BITS-1:0] drain,
    // A Fourier layer reads one period of a wave in steps of its frequency, which rises by one from output to output.
    input wire wave,
    input wire [COUNT_BITS-1:0] first_frequency,
    // Operands of this cycle; `load` marks the cycle before a layer's first operands.
    output wire load,
    output reg valid,
    output wire first,
    output wire last,
    output reg [X_ADDRESS_BITS-1:0] x_address,
    output reg [W_ADDRESS_BITS-1:0] w_address,
    output reg [B_ADDRESS_BITS-1:0] b_address
);
    localparam IDLE = 2'd0, LOAD = 2'd1, RUN = 2'd2, DRAIN = 2'd3;
    reg [1:0] state;
    reg [DRAIN_BITS-1:0] drained;
    reg [COUNT_BITS-1:0] tap, channel, position, out, frequency;
    reg [COUNT_BITS:0] phase;
    reg [X_ADDRESS_BITS-1:0] x_of_channel, x_of_position, x_of_output;
    reg [W_ADDRESS_BITS-1:0] w_of_output;

    wire last_tap = tap == taps - 1'b1;
    wire last_channel = channel == channels - 1'b1;
    wire last_position = position == positions - 1'b1;
    wire last_output = out == outputs - 1'b1;
    wire complete = last_tap && last_channel;
    wire [X_ADDRESS_BITS-1:0] next_channel = x_of_channel + channel_step;
    wire [X_ADDRESS_BITS-1:0] next_position = x_of_position + position_step;
    wire [X_ADDRESS_BITS-1:0] next_output = x_of_output + output_step;
    // One period has as many steps as the layer has taps.
    wire [COUNT_BITS:0] further = phase + frequency;
    wire [COUNT_BITS:0] next_phase = complete ? 0 : further >= taps ? further - taps : further;
    wire [W_ADDRESS_BITS-1:0] next_weight = complete && !last_position ? w_of_output : w_address + 1'b1;

    assign busy = state != IDLE;
    assign load = state == LOAD;
    assign first = tap == 0 && channel == 0;
    assign last = complete;

    always @(posedge clock) begin
        done <= 0;
        valid <= 0;
        if (reset) begin
            state <= IDLE;
            layer <= 0;
        end else case (state)
            IDLE: if (start) begin
                layer <= 0;
                state <= LOAD;
            end
            LOAD: begin
                tap <= 0;
                channel <= 0;
                position <= 0;
                out <= 0;
                frequency <= first_frequency;
                phase <= 0;
                x_address <= x_base;
                x_of_channel <= x_base;
                x_of_position <= x_base;
                x_of_output <= x_base;
                w_address <= w_base;
                w_of_output <= w_base;
                b_address <= b_base;
                valid <= 1;
                drained <= 0;
                state <= RUN;
            end
            RUN: begin
                valid <= !(complete && last_position && last_output);
                if (complete && last_position && last_output) state <= DRAIN;
                tap <= last_tap ? 0 : tap + 1'b1;
                if (last_tap) channel <= last_channel ? 0 : channel + 1'b1;
                if (complete) position <= last_position ? 0 : position + 1'b1;
                if (complete && last_position) begin
                    out <= out + 1'b1;
                    frequency <= frequency + 1'b1;
                    b_address <= b_address + 1'b1;
                    w_of_output <= w_address + 1'b1;
                end
                phase <= next_phase;
                w_address <= wave ? w_base + next_phase : next_weight;
                if (!last_tap) x_address <= x_address + 1'b1;
                else if (!last_channel) begin
                    x_address <= next_channel;
                    x_of_channel <= next_channel;
                end else if (!last_position) begin
                    x_address <= next_position;
                    x_of_channel <= next_position;
                    x_of_position <= next_position;
                end else begin
                    x_address <= next_output;
                    x_of_channel <= next_output;
                    x_of_position <= next_output;
                    x_of_output <= next_output;
                end
            end
            DRAIN: begin
                drained <= drained + 1'b1;
                if (drained == drain - 1'b1) begin
                    layer <= layer + 1'b1;
                    done <= last_layer;
                    state <= last_layer ? IDLE : LOAD;
                end
            end
        endcase
    end
endmodule
