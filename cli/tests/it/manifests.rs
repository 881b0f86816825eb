//! A small city: one department, one system, three people.

use std::path::Path;

/// A department with one system that its staff may open.
pub(crate) const DEPARTMENT: &str = "\
apiVersion: tidegate.dev/v1alpha1
kind: Department
metadata:
  name: sbj
spec:
  code: sbj
  names: {zh-CN: 社会保险局, en: Social Insurance Bureau}
  networks: [10.20.0.0/16]
  timeZone: Asia/Shanghai
---
apiVersion: tidegate.dev/v1alpha1
kind: Resource
metadata:
  name: pension
  namespace: dept-sbj
spec:
  names: {zh-CN: 养老保险, en: Pension records}
  web:
    url: http://10.20.1.10:8080/
---
apiVersion: tidegate.dev/v1alpha1
kind: AccessPolicy
metadata:
  name: pension-access
  namespace: dept-sbj
spec:
  target:
    resources:
      names: [pension]
  rules:
    - name: staff
      effect: Allow
      match:
        groups: [staff]
";

/// A person in `groups`, in `state`.
pub(crate) fn person(name: &str, groups: &str, state: &str) -> String {
    format!(
        "---
apiVersion: tidegate.dev/v1alpha1
kind: VpnUser
metadata:
  name: {name}
  namespace: dept-sbj
spec:
  request:
    person: {name}
    groups: [{groups}]
  requestedBy: unit-clerk
  approval:
    by: li.qiang
  state: {state}
"
    )
}

/// Writes the city into `folder`.
pub(crate) fn write(folder: &Path) {
    std::fs::create_dir_all(folder).expect("a folder");
    std::fs::write(folder.join("department.yaml"), DEPARTMENT).expect("written");
    let people = [
        person("wangfang", "sbj/staff", "Active"),
        person("guest", "", "Active"),
        person("zhaolei", "sbj/staff", "Suspended"),
    ];
    std::fs::write(folder.join("people.yaml"), people.concat()).expect("written");
}
