// Keeps the samples of one electrode out of the array's stream and holds two windows of them: one fills while the
// other is read. What the other electrodes deliver is never stored.
module window_buffer #(
    parameter CHANNEL_BITS = 7,
    parameter ELECTRODE = 0,
    parameter SAMPLES = 512,
    parameter ADDRESS_BITS = 9,
    parameter WIDTH = 16
) (
    input wire clock,
    input wire reset,
    input wire sample_valid,
    output wire sample_ready,
    input wire [CHANNEL_BITS-1:0] sample_channel,
    input wire signed [WIDTH-1:0] sample,
    output wire window_full,
    input wire window_release,
    input wire [ADDRESS_BITS-1:0] read_address,
    output reg signed [WIDTH-1:0] read_data
);
    reg signed [WIDTH-1:0] memory [0:(2 << ADDRESS_BITS)-1];
    reg [ADDRESS_BITS-1:0] position;
    reg fill_half, read_half;
    reg [1:0] full;

    assign sample_ready = !full[fill_half];
    assign window_full = full[read_half];
    wire take = sample_valid && sample_ready && sample_channel == ELECTRODE[CHANNEL_BITS-1:0];
    wire complete = take && position == SAMPLES - 1;

    always @(posedge clock) begin
        if (take) memory[{fill_half, position}] <= sample;
        read_data <= memory[{read_half, read_address}];
    end

    always @(posedge clock) begin
        if (reset) begin
            position <= 0;
            fill_half <= 0;
            read_half <= 0;
            full <= 0;
        end else begin
            if (take) position <= complete ? 0 : position + 1'b1;
            if (complete) begin
                full[fill_half] <= 1;
                fill_half <= !fill_half;
            end
            if (window_release) begin
                full[read_half] <= 0;
                read_half <= !read_half;
            end
        end
    end
endmodule
