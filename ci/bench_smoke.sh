#!/usr/bin/env bash
# The benches still run, each still proves that it counted what it claims to have counted, every row is there in every
# mode with every peer, and a quick run takes less than a minute. Its figures mean nothing: for those see benches/RESULTS.md.
set -euo pipefail
source "$(dirname "$0")/env.sh"
need jq "apt-get install jq"

cargo build --release --quiet -p tachograph-benches --bins
started=$SECONDS
lines=$(cargo run --release --quiet -p tachograph-benches -- --quick --json)
took=$((SECONDS - started))

# wanted ROW MODES PEERS: a line of the row for each mode with each peer.
wanted() {
    local mode peer
    for mode in $2; do
        for peer in $3; do printf '%s %s %s\n' "$1" "$mode" "$peer"; done
    done
}
shapes="1t 1t_reloaded 1t_64_in_turn 2t_same 2t_apart nt_same"
expected=$(
    wanted counter_inc "$shapes" "plain_add prometheus prometheus-client metriken measured metrics-exporter-prometheus"
    wanted closed_label_inc "$shapes" "plain_add tachograph prometheus prometheus-client metriken measured opentelemetry_sdk"
    wanted gauge_set "$shapes" "plain_store prometheus prometheus-client metriken measured metrics-exporter-prometheus"
    wanted histogram_bounds_f64 "$shapes" "bare_histogram prometheus prometheus-client measured metrics-exporter-prometheus opentelemetry_sdk"
    wanted histogram_exponential_f64 "$shapes" "bare_histogram prometheus prometheus-client"
    wanted histogram_duration_ns "$shapes" "bare_histogram prometheus metriken"
    wanted facade_counter_literal "$shapes" "metrics-exporter-prometheus"
    wanted activity_mark "1t 1t_64_in_turn 2t_apart" plain_store
    wanted note 1t bare_record
    wanted render_text "1k 10k" "memcpy prefix_itoa prometheus prometheus-client measured metrics-exporter-prometheus"
    wanted render_text_histogram "1k 10k" "memcpy prefix_itoa prometheus prometheus-client measured metrics-exporter-prometheus"
    wanted render_openmetrics "1k 10k" "memcpy prefix_itoa prometheus-client"
    wanted render_protobuf "1k 10k" memcpy
    wanted scrape_read "1k 10k" memcpy
    wanted merge_8x10k "tmpfs disk disk_1000_dead" "sum_of_renders memcpy prometheus"
    wanted sampled "throughput_1s throughput_50ms cpu_1s cpu_50ms p999_1s p999_50ms" unsampled
    wanted sampled "reader_1s reader_50ms" none
    wanted recorder "tick_mostly_idle tick_mixed" none
)
# Each line has exactly these keys, figures where they belong, and `ratio` where there is a peer to compare with.
found=$(printf '%s\n' "$lines" | jq -r '
    if keys == ["mode", "ours_ns", "peer", "peer_ns", "ratio", "row"]
        and (.ours_ns | type == "number" and . > 0)
        and ((.peer_ns == null and .ratio == null) or (.peer_ns > 0 and .ratio > 0))
    then "\(.row) \(.mode) \(.peer)" else error("not a line of results: \(.)") end')
for row in start start_adopting registration registration_adopted; do
    grep -q "^$row " <<<"$found" || { echo "bench_smoke: no row $row" >&2 && exit 1; }
done
difference=$(diff <(sort <<<"$expected") <(grep -v -E '^(start|start_adopting|registration|registration_adopted) ' <<<"$found" | sort)) || {
    printf 'bench_smoke: lines that are missing (<) or not known to this check (>):\n%s\n' "$difference" >&2
    exit 1
}
echo "bench_smoke: $(wc -l <<<"$found") lines of results in $took s"
[ "$took" -le 50 ] || { echo "bench_smoke: a quick run takes $took s, 50 are allowed" >&2 && exit 1; }

kinds=$(target/release/memory --json | jq -r 'select(.ours_region_bytes > 8) | .kind' | sort -u | tr '\n' ' ')
[ "$kinds" = "counter duration_histogram_11_bounds exponential_histogram_default gauge histogram_11_bounds updown_counter watermark " ] || {
    echo "bench_smoke: memory a series is told for: $kinds" >&2
    exit 1
}
