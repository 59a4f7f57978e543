#!/usr/bin/env bash
# The whole chain on a made corpus: fetch, split, augment, features, embeddings, train, evaluate,
# tag. Usage: demo.sh [FOLDER]; TRACKS=N makes another size.
set -euo pipefail
folder=${1:-demo}
tracks=${TRACKS:-180}
mkdir -p "$folder"
cd "$folder"

# Print a line as one would type it, then run it.
step() {
  printf '\n\033[2m# %s\033[0m\n\033[1m$ %s\033[0m\n' "$1" "$2"
  bash -o pipefail -c "$2"
}

step "Make a corpus with known labels: six styles, instruments, tempo, energy, artists." \
  "mt-fetch synth --tracks $tracks --out data -o tracks.parquet"
step "Split it, no artist on two sides, styles balanced." \
  "mt-fetch split tracks.parquet --method stratified-grouped --by style --train .6 --valid .15 --test .25 --allow-thin -o parts.parquet"
step "Copy the train tracks a tone up and down; compute features in one pipe." \
  "mt-augment parts.parquet --pitch -2,2 | mt-spec --preset dj --first 6 -o mels.parquet"
step "Embed the same tracks and copies: MFCC statistics, 120 numbers each." \
  "mt-augment parts.parquet --pitch -2,2 | mt-embed --model mfcc-stats -o embeddings.parquet"
step "How much do the embeddings know of style and energy? Five folds, artists kept apart." \
  "mt-embed parts.parquet --model mfcc-stats | mt-eval probe --task style --task energy --folds 5 --format table"
step "Does anything leak between the splits?" \
  "mt-eval check embeddings.parquet --warn --format table"
step "Train one model of four tasks of three kinds on the embeddings." \
  "mt-train embeddings.parquet -t style -t instruments -t energy -t tempo --net mlp -o mine.safetensors"
step "And a small convolutional network on the features." \
  "mt-train mels.parquet -t style -t energy --net cnn --epochs 12 -o cnn.safetensors"
step "Score it on the test artists, with intervals that resample artists." \
  "mt-tag parts.parquet -m mine.safetensors | mt-eval score --splits test --task style --format table"
step "And the network on the features." \
  "mt-tag parts.parquet -m cnn.safetensors | mt-eval score --splits test --task energy --format table"
step "New music, by artists nobody has heard." \
  "mt-fetch synth --tracks 3 --seed 2026 --out new -o new.parquet"
step "Tag it." \
  "mt-tag new --model mine.safetensors --format table --top 3"
printf '\nAll of it is in %s. Every command has --help and a man page.\n' "$PWD"
