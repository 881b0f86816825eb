#!/bin/sh
# Applies each approver's fragment to a cluster under the approver's name.
#
# People approve with their own login, which also says what groups they are in; --as and --as-group stand in for that
# here, and need the right to impersonate. Admission refuses a fragment whose approval.by is not the user who applies it.
set -eu
cd "$(dirname "$0")"
for file in approvals/*.yaml; do
    approver=$(basename "$file" .yaml)
    department=$(sed -n 's/^  namespace: dept-//p' "$file" | head -n 1)
    kubectl apply --server-side --field-manager=tidegate-approve \
        --as="$approver" --as-group="$department-approvers" --filename="$file"
done
