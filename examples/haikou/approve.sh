#!/bin/sh
# Applies each approver's fragment to a cluster under the approver's name.
#
# People approve with their own login; --as stands in for that here, and needs the right to impersonate them.
# Admission refuses a fragment whose approval.by is not the user who applies it.
set -eu
cd "$(dirname "$0")"
for file in approvals/*.yaml; do
    approver=$(basename "$file" .yaml)
    kubectl apply --server-side --field-manager=tidegate-approve --as="$approver" --filename="$file"
done
