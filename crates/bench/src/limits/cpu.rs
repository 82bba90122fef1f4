//! How much processor time was used, in microseconds.

use std::fs;

use redis::aio::MultiplexedConnection;

use crate::Problem;

/// By a process since it started, to a hundredth of a second or so.
pub(super) fn of_process(id: u32) -> Result<f64, Problem> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat"))?;
    let ticks = ticks(&stat).ok_or("/proc says it in another way")?;
    let per_second = f64::from(u32::try_from(rustix::param::clock_ticks_per_second())?);
    Ok(f64::from(ticks) / per_second * 1e6)
}

/// By a Redis server since it started.
pub(super) async fn of_redis(connection: &mut MultiplexedConnection) -> Result<f64, Problem> {
    let info: String = redis::cmd("INFO").arg("cpu").query_async(connection).await?;
    seconds(&info).map(|seconds| seconds * 1e6).ok_or_else(|| "Redis says it in another way".into())
}

/// proc(5): after the name, which may have spaces and ends with the last bracket, user and system time are 12th and 13th.
fn ticks(stat: &str) -> Option<u32> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut numbers = rest.split_whitespace().skip(11).map(str::parse::<u32>);
    Some(numbers.next()?.ok()? + numbers.next()?.ok()?)
}

fn seconds(info: &str) -> Option<f64> {
    let of = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok());
    Some(of("used_cpu_sys:")? + of("used_cpu_user:")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_behind_any_name() {
        let stat = "7 (a b) c) S 1 2 3 4 5 6 7 8 9 10 250 31 0 0 20 0";
        assert_eq!(ticks(stat), Some(281));
        assert_eq!(ticks("7 (a) S 1"), None);
    }

    #[test]
    fn a_redis_tells_both_of_its_times() {
        let info =
            "# CPU\r\nused_cpu_sys:1.500000\r\nused_cpu_user:2.250000\r\nused_cpu_sys_children:9.0\r\n";
        assert_eq!(seconds(info), Some(3.75));
        assert_eq!(seconds("# CPU\r\n"), None);
    }
}
