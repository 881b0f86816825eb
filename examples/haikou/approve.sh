#!/bin/sh
# Applies each approver's fragment to a cluster under the approver's name.
#
# People approve with their own login. --as and --as-group stand in for that here: they need the right to impersonate,
# and the group is the one that departments.yaml names below roles.approvers of the department whose accounts the file
# approves. Admission refuses a fragment whose approval.by is not the user who applies it.
set -eu
cd "$(dirname "$0")"
for file in approvals/*.yaml; do
    approver=$(basename "$file" .yaml)
    code=$(sed -n 's/^  namespace: dept-//p' "$file" | head -n 1)
    kubectl apply --server-side --field-manager=tidegate-approve \
        --as="$approver" --as-group="$code-approvers" --filename="$file"
done
