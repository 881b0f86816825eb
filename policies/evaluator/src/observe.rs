//! What tests may watch; the production program watches nothing and pays nothing.

/// Told what one evaluation went through.
pub trait Observe {
    /// An index node of this dimension led to a child.
    fn dimension(&mut self, dimension: u8);
    /// A condition of this kind was tested.
    fn condition(&mut self, kind: u8);
    /// An instruction ran.
    fn opcode(&mut self, opcode: u8);
}

impl Observe for () {
    #[inline]
    fn dimension(&mut self, _: u8) {}
    #[inline]
    fn condition(&mut self, _: u8) {}
    #[inline]
    fn opcode(&mut self, _: u8) {}
}
