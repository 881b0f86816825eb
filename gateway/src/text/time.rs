//! Instants as people of a department read them.

use tidegate_core::{Lang, Timestamp, Zone};

use super::{text, text_with};

/// A calendar date and wall time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Civil {
    pub(crate) year: i64,
    pub(crate) month: u32,
    pub(crate) day: u32,
    pub(crate) hour: u32,
    pub(crate) minute: u32,
    pub(crate) second: u32,
    /// Monday is 0.
    pub(crate) weekday: u32,
    /// Days since 1970 on the wall.
    days: i64,
    offset: i32,
}

impl Civil {
    /// What calendar and clock on the wall show at `at`.
    pub(crate) fn at(at: Timestamp, zone: &Zone) -> Self {
        let offset = zone.offset_at(at);
        let local = at.plus(i64::from(offset)).0;
        let (days, rest) = (local.div_euclid(86_400), local.rem_euclid(86_400));
        let rest = u32::try_from(rest).unwrap_or(0);
        // Eras of 400 years of 146,097 days, each year beginning in March, so the leap day is last.
        let shifted = days.saturating_add(719_468);
        let era = shifted.div_euclid(146_097);
        let of_era = shifted.rem_euclid(146_097);
        let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * of_year + 2) / 153;
        let day = of_year - (153 * shifted_month + 2) / 5 + 1;
        let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        Self {
            year,
            month: u32::try_from(month).unwrap_or(1),
            day: u32::try_from(day).unwrap_or(1),
            hour: rest / 3_600,
            minute: rest / 60 % 60,
            second: rest % 60,
            // 1970-01-01 was a Thursday.
            weekday: u32::try_from((days + 3).rem_euclid(7)).unwrap_or(0),
            days,
            offset,
        }
    }

    /// `2026-11-23T09:43:07+08:00`.
    pub(crate) fn iso(&self) -> String {
        let sign = if self.offset < 0 { '-' } else { '+' };
        let offset = self.offset.unsigned_abs();
        format!(
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}{sign}{:02}:{:02}",
            self.year,
            self.month,
            self.day,
            self.hour,
            self.minute,
            self.second,
            offset / 3_600,
            offset / 60 % 60
        )
    }

    /// `09:43`.
    pub(crate) fn clock(&self) -> String {
        format!("{:02}:{:02}", self.hour, self.minute)
    }

    /// `11月23日 09:43:07`, for slips.
    pub(crate) fn exact(&self, lang: Lang) -> String {
        format!("{} {}:{:02}", self.date(lang, "month-day"), self.clock(), self.second)
    }

    /// `今天 14:00`, `11月20日（周五）08:26`.
    pub(crate) fn relative(&self, now: &Self, lang: Lang) -> String {
        let day = match self.days - now.days {
            0 => text(lang, "today"),
            1 => text(lang, "tomorrow"),
            _ => self.date(lang, "month-day-weekday"),
        };
        // A full-width bracket brings its own space.
        let space = if day.ends_with('）') { "" } else { " " };
        format!("{day}{space}{}", self.clock())
    }

    fn date(&self, lang: Lang, key: &str) -> String {
        let weekday = text(lang, &format!("weekday-{}", self.weekday));
        text_with(
            lang,
            key,
            &[("month", self.month.into()), ("day", self.day.into()), ("weekday", weekday.into())],
        )
    }
}
